"""The server's stack: one machine at one address, what it may do, who calls it, what it is told."""

from __future__ import annotations

import email
import json
import re

import pytest

from server.render import PARAMETERS, checked, limits
from tests.contract.test_database_stack import program
from tests.contract.test_network import services
from tests.transformed import ROOT, STACKS, document, stack

ACCOUNT = "eu-west-1:123456789012"
BATCH = f"arn:aws:batch:{ACCOUNT}"
QUEUES = f"{BATCH}:job-queue/spot,{BATCH}:job-queue/on-demand"
ROLE = "arn:aws:iam::123456789012:role/core-job"
SECRETS = f"arn:aws:secretsmanager:{ACCOUNT}:secret"
KEYS = "arn:aws:kms:eu-west-1:1:key/a,arn:aws:kms:eu-west-1:1:key/b"
BUCKET = "arn:aws:s3:::workflows"
NAMES = {
    "Token": f"{SECRETS}:token-AbCdEf",
    "CertificateParameter": "/gwfcore/lab/cromwell/certificate",
    "Address": "eni-1",
    "Address.PrimaryPrivateIpAddress": "10.0.3.7",
    "ServerLogs": "dropwell-ServerLogs-1",
}
GIVEN = {
    "VpcId": "vpc-1",
    "SubnetId": "subnet-1",
    "WorkflowBucketName": "workflows",
    "JobQueueArns": QUEUES,
    "JobRoleArns": ROLE,
    "DatabaseHost": "db.cluster-1.eu-west-1.rds.amazonaws.com",
    "DatabaseSecretArn": f"{SECRETS}:database-AbCdEf",
    "DatabaseClientSecurityGroupId": "sg-1",
}
EVERYTHING = {
    "Namespace": "lab",
    "CallerCidr": "192.0.2.0/24",
    "PublicAddress": "true",
    "DataBucketArns": "arn:aws:s3:::reads,arn:aws:s3:::references",
    "OutputArns": "arn:aws:s3:::results/cromwell,arn:aws:s3:::more",
    "DataKeyArns": KEYS,
    "SecretKeyArns": KEYS,
    "CertificateSecretArn": f"{SECRETS}:certificate-AbCdEf",
    "DatabaseCaUrl": "s3://tools/rds/ca.pem",
    "DatabaseCaSha256": "1" * 64,
    "JarUrl": "s3://tools/cromwell-92.jar",
    "JarSha256": "0" * 64,
    "DiskKeyArn": KEYS.split(",")[0],
    "KeyName": "mine",
    "ImageId": "ami-1",
    "Environment": "HTTPS_PROXY=http://proxy:3128;NO_PROXY=169.254.169.254,localhost",
    "Settings": '{"workflow_limit": 500, "heap_percent": 60}',
}


def cromwell(**parameters):
    return stack("cromwell", NAMES, **(GIVEN | parameters))


def layer(template):
    [name] = template.of_type("AWS::Lambda::LayerVersion")
    return name


# Who may do what, to what: origin's table, row by row. Whoever widens the role says so here.
JOBS = {
    (
        "batch:DescribeComputeEnvironments",
        "batch:DescribeJobDefinitions",
        "batch:DescribeJobQueues",
        "batch:DescribeJobs",
        "batch:ListJobs",
    ): {"*"},
    ("batch:SubmitJob",): {
        *QUEUES.split(","),
        f"{BATCH}:job-definition/cromwell_*",
        f"{BATCH}:job/*",
    },
    ("batch:RegisterJobDefinition",): {f"{BATCH}:job-definition/cromwell_*"},
    ("batch:TagResource",): {f"{BATCH}:job/*"},
    ("batch:CancelJob", "batch:TerminateJob"): {f"{BATCH}:job/*"},
    ("iam:PassRole",): {ROLE},
}
FILES = {
    (
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:GetObjectAcl",
        "s3:PutObject",
    ): {f"{BUCKET}/cromwell-execution/*", f"{BUCKET}/scripts/*"},
    ("s3:GetObject", "s3:GetObjectAcl"): {f"{BUCKET}/dropwell/inputs/*"},
    ("s3:GetBucketAcl", "s3:ListBucket"): {BUCKET},
}
IMAGES = {
    (
        "ecr-public:GetAuthorizationToken",
        "ecr:GetAuthorizationToken",
        "sts:GetServiceBearerToken",
    ): {"*"},
    ("ecr:BatchGetImage",): {"arn:aws:ecr:*:*:repository/*"},
}
ITSELF = {
    ("secretsmanager:GetSecretValue",): {GIVEN["DatabaseSecretArn"], NAMES["Token"]},
    ("ssm:GetParameter", "ssm:PutParameter"): {
        f"arn:aws:ssm:{ACCOUNT}:parameter{NAMES['CertificateParameter']}"
    },
    ("lambda:GetLayerVersion",): {layer(cromwell())},
    ("ec2:AttachNetworkInterface",): {
        f"arn:aws:ec2:{ACCOUNT}:network-interface/eni-1",
        f"arn:aws:ec2:{ACCOUNT}:instance/*",
    },
    ("ec2:DescribeNetworkInterfaces", "ec2:DescribeTags"): {"*"},
    ("cloudformation:SignalResource",): {
        f"arn:aws:cloudformation:{ACCOUNT}:stack/dropwell/1",
    },
    ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"): {"ServerLogs.Arn"},
    ("cloudwatch:PutMetricData",): {"*"},
    (
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ): {"*"},
}
LEAST = JOBS | FILES | IMAGES | ITSELF
MOST = LEAST | {
    ("s3:GetObject", "s3:GetObjectAcl"): {
        f"{BUCKET}/dropwell/inputs/*",
        "arn:aws:s3:::reads/*",
        "arn:aws:s3:::references/*",
    },
    ("s3:GetBucketAcl", "s3:ListBucket"): {
        BUCKET,
        "arn:aws:s3:::reads",
        "arn:aws:s3:::references",
    },
    ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"): {
        "arn:aws:s3:::results/cromwell/*",
        "arn:aws:s3:::more/*",
    },
    ("kms:Decrypt", "kms:GenerateDataKey"): set(KEYS.split(",")),
    ("kms:Decrypt",): set(KEYS.split(",")),
    ("secretsmanager:GetSecretValue",): {
        GIVEN["DatabaseSecretArn"],
        NAMES["Token"],
        EVERYTHING["CertificateSecretArn"],
    },
    ("s3:GetObject",): {"arn:aws:s3:::tools/cromwell-92.jar", "arn:aws:s3:::tools/rds/ca.pem"},
}


def conditions(action):
    [statement] = [
        statement
        for statement in cromwell(**EVERYTHING).statements("ServerRole")
        if action in statement["Action"]
    ]
    return statement["Condition"]


class TestWhatTheServerMayDo:
    @pytest.mark.parametrize(
        ("parameters", "expected"), [({}, LEAST), (EVERYTHING, MOST)], ids=["least", "most"]
    )
    def test_is_this_and_nothing_else(self, parameters, expected):
        assert cromwell(**parameters).rights("ServerRole") == expected

    def test_is_to_give_a_job_no_role_but_the_jobs_own_and_only_to_jobs(self):
        assert conditions("iam:PassRole") == {
            "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
        }
        two = f"{ROLE},{ROLE}-lab"
        assert cromwell(JobRoleArns=two).rights("ServerRole")["iam:PassRole",] == {
            ROLE,
            f"{ROLE}-lab",
        }

    def test_is_to_end_only_what_a_cromwell_submitted(self):
        tagged = {"Null": {"aws:ResourceTag/cromwell-workflow-id": "false"}}
        assert conditions("batch:TerminateJob") == tagged
        assert conditions("batch:TagResource") == {
            "Null": {"aws:RequestTag/cromwell-workflow-id": "false"}
        }

    def test_is_to_take_its_own_stacks_address_alone(self):
        tag = {"dropwell-server": "dropwell"}
        assert conditions("ec2:AttachNetworkInterface") == {
            "StringEquals": {f"aws:ResourceTag/{name}": value for name, value in tag.items()}
        }
        address = cromwell().properties("Address")["Tags"]
        specifications = launch()["TagSpecifications"]
        [machine] = [s["Tags"] for s in specifications if s["ResourceType"] == "instance"]
        for tags in (address, machine):
            assert tag.items() <= {t["Key"]: t["Value"] for t in tags}.items()

    def test_is_to_write_metrics_under_the_name_that_it_is_told(self):
        assert conditions("cloudwatch:PutMetricData") == {
            "StringEquals": {"cloudwatch:namespace": told()["metric_namespace"]}
        }

    def test_hangs_on_no_managed_policy(self):
        assert "ManagedPolicyArns" not in cromwell(**EVERYTHING).properties("ServerRole")

    def test_can_be_done_without_internet(self):
        endpoints = {
            endpoint["ServiceName"].removeprefix("com.amazonaws.eu-west-1.")
            for endpoint in stack("network").of_type("AWS::EC2::VPCEndpoint").values()
        }
        used = services("ServerRole", cromwell(**EVERYTHING))
        # Roles are passed within a call to Batch; public images need the internet anyway.
        assert used - endpoints == {"iam", "ecr-public"}


def launch(**parameters):
    return cromwell(**parameters).properties("ServerTemplate")["LaunchTemplateData"]


def script(**parameters):
    message = email.message_from_string(launch(**parameters)["UserData"])
    assert message.is_multipart()
    assert not message.defects
    [part] = message.get_payload()
    assert part.get_content_type() == "text/x-shellscript"
    return part.get_payload()


def told(**parameters):
    """Return the parameters that the stack gives the server."""
    [text] = re.findall(
        r"stack\.json <<'END_OF_JSON'\n(.*?)^END_OF_JSON$", script(**parameters), re.M | re.S
    )
    return json.loads(text)


class TestThereIsOneServer:
    def test_at_most_ever(self):
        group = cromwell().properties("Server")
        assert (group["MinSize"], group["MaxSize"], group["DesiredCapacity"]) == ("0", "1", 1)

    def test_and_the_old_one_goes_before_the_new_one_comes(self):
        template = cromwell()
        assert template.properties("Server")["InstanceMaintenancePolicy"] == {
            "MinHealthyPercentage": 0,
            "MaxHealthyPercentage": 100,
        }
        update = template.resources["Server"]["UpdatePolicy"]["AutoScalingRollingUpdate"]
        assert update["MinInstancesInService"] == 0
        assert update["WaitOnResourceSignals"] is True

    def test_which_holds_the_one_address(self):
        assert "ADDRESS='eni-1'" in script()
        assert len(cromwell().made_of_type("AWS::EC2::NetworkInterface")) == 1

    def test_or_none_while_it_is_stopped(self):
        assert cromwell(Servers=0).properties("Server")["DesiredCapacity"] == 0

    def test_where_its_address_is(self):
        template = cromwell()
        assert template.properties("Server")["VPCZoneIdentifier"] == ["subnet-1"]
        assert template.properties("Address")["SubnetId"] == "subnet-1"

    def test_whose_stack_hears_when_it_is_up(self):
        assert cromwell().resources["Server"]["CreationPolicy"]["ResourceSignal"]["Count"] == 1
        assert "--logical-resource-id Server" in script()
        assert "STACK='dropwell'" in script()


class TestTheMachine:
    def test_shows_its_role_to_nothing_but_itself(self):
        assert launch()["MetadataOptions"] == {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
        }

    def test_has_an_encrypted_volume_that_goes_with_it(self):
        [device] = launch(DiskKeyArn="arn:key")["BlockDeviceMappings"]
        assert device["Ebs"] == {
            "VolumeType": "gp3",
            "VolumeSize": 30,
            "Encrypted": True,
            "KmsKeyId": "arn:key",
            "DeleteOnTermination": True,
        }

    def test_is_ended_by_shutting_down(self):
        assert launch()["InstanceInitiatedShutdownBehavior"] == "terminate"

    @pytest.mark.parametrize("processor", ["x86_64", "arm64"])
    def test_is_amazon_linux_2023(self, processor):
        assert launch(Architecture=processor)["ImageId"] == (
            "{{resolve:ssm:/aws/service/ami-amazon-linux-latest"
            f"/al2023-ami-kernel-default-{processor}}}}}"
        )
        assert launch(ImageId="ami-1")["ImageId"] == "ami-1"

    def test_has_a_key_pair_only_where_one_is_named(self):
        assert "KeyName" not in launch()
        assert launch(KeyName="mine")["KeyName"] == "mine"


class TestWhoCallsIt:
    def doors(self, **parameters):
        return cromwell(**parameters).properties("AddressSecurityGroup")["SecurityGroupIngress"]

    def test_are_the_pipelines_functions(self):
        [door] = self.doors()
        assert (door["FromPort"], door["ToPort"]) == (443, 443)
        assert door["SourceSecurityGroupId"] == "CallerSecurityGroup"
        assert cromwell().outputs["CallerSecurityGroupId"] == "CallerSecurityGroup"

    def test_are_people_from_where_it_was_said(self):
        [_, door] = self.doors(CallerCidr="192.0.2.0/24")
        assert (door["CidrIp"], door["FromPort"]) == ("192.0.2.0/24", 443)

    def test_come_at_the_address_and_by_no_other_way(self):
        template = cromwell(**EVERYTHING)
        groups = template.made_of_type("AWS::EC2::SecurityGroup")
        assert [name for name, group in groups.items() if "SecurityGroupIngress" in group] == [
            "AddressSecurityGroup"
        ]
        assert template.properties("Address")["GroupSet"] == ["AddressSecurityGroup"]
        assert launch()["SecurityGroupIds"] == ["ServerSecurityGroup", "sg-1"]
        assert not [d for d in self.doors(**EVERYTHING) if d["FromPort"] != 443], "no SSH"

    def test_find_it_by_a_name_that_stays(self):
        template = cromwell(Namespace="lab")
        record = template.properties("NameRecord")
        assert record["Name"] == "cromwell.lab.internal"
        assert record["ResourceRecords"] == ["10.0.3.7"]
        assert template.outputs["ServerAddress"] == "10.0.3.7"
        assert template.properties("UrlParameter")["Value"] == "https://cromwell.lab.internal"

    def test_find_it_by_a_name_of_ones_own(self):
        template = cromwell(ServerName="cromwell.example.org")
        assert not {"Zone", "NameRecord"} & set(template.made)
        assert template.properties("UrlParameter")["Value"] == "https://cromwell.example.org"
        assert told(ServerName="cromwell.example.org")["server_names"][0] == "cromwell.example.org"

    def test_find_it_from_outside_only_when_asked(self):
        assert not {"PublicIp", "PublicIpOfTheAddress"} & set(cromwell().made)
        public = cromwell(**EVERYTHING).properties("PublicIpOfTheAddress")
        assert public["NetworkInterfaceId"] == "eni-1"

    def test_do_not_keep_a_machine_in_a_public_subnet_from_getting_out(self):
        [interface] = launch(**EVERYTHING)["NetworkInterfaces"]
        assert interface == {
            "DeviceIndex": 0,
            "AssociatePublicIpAddress": True,
            "Groups": ["ServerSecurityGroup", "sg-1"],
        }
        assert "SecurityGroupIds" not in launch(**EVERYTHING)
        assert "NetworkInterfaces" not in launch()

    def test_show_a_token_that_the_proxy_takes(self):
        made = cromwell().properties("Token")["GenerateSecretString"]
        assert made == {"PasswordLength": 48, "ExcludePunctuation": True}
        assert cromwell(SecretKeyArns=KEYS).properties("Token")["KmsKeyId"] == KEYS.split(",")[0]


class TestWhatTheServerIsTold:
    @pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["least", "most"])
    def test_is_what_it_takes(self, parameters):
        given = told(**parameters)
        more = json.loads(parameters.get("Settings", "{}"))
        values = checked({**given, **more})
        assert values["database_secret"] == GIVEN["DatabaseSecretArn"]
        assert values["queue_arn"] == QUEUES.split(",")[0]
        assert values["root"] == "s3://workflows/cromwell-execution"

    def test_is_everything_that_it_must_be_told(self):
        assert {name for name, p in PARAMETERS.items() if p.default is None} <= set(told())

    def test_is_the_release_whose_checksum_is_known(self):
        assert told()["jar_url"].endswith("/download/92/cromwell-92.jar")
        assert told()["jar_sha256"].startswith("e0e3a050d4124e81")

    def test_is_more_where_it_is_asked(self):
        text = script(Settings='{"workflow_limit": 500}')
        assert "settings.json <<'END_OF_JSON'\n{\"workflow_limit\": 500}\nEND_OF_JSON" in text

    @pytest.mark.parametrize(
        ("given", "taken"),
        [
            ("", True),
            ("HTTPS_PROXY=http://p:3128;NO_PROXY=a,b", True),
            ("JAVA_TOOL_OPTIONS=-Da=b -Dc=d", True),
            ("A=it's", False),
            ("A=$(reboot)", False),
            ("A=`reboot`", False),
            ("A=1;;B=2", False),
            ("two words=1", False),
        ],
    )
    def test_takes_variables_that_no_shell_would_read_as_its_own(self, given, taken):
        pattern = cromwell().document["Parameters"]["Environment"]["AllowedPattern"]
        assert bool(re.fullmatch(pattern, given)) == taken

    def test_is_the_same_body_limit_as_the_databases(self):
        both = [
            stack(name).document["Parameters"]["BodyLimitMiB"]["AllowedValues"]
            for name in ("cromwell", "database")
        ]
        assert both[0] == both[1]
        for mib in both[0]:
            assert limits(told(BodyLimitMiB=mib)["body_limit_mib"]) == limits(mib)

    def test_holds_no_secret(self):
        assert not re.search(r"resolve:secretsmanager|NoEcho", STACKS["cromwell"].read_text())


class TestUserData:
    def test_fits(self):
        data = launch(**EVERYTHING)["UserData"]
        assert data.isascii()
        assert len(data) < 14_000, "EC2 takes 16384 bytes"

    def test_holds_the_boot_script_as_it_is(self):
        embed = program("embed")
        text = STACKS["cromwell"].read_text()
        [boot] = [p for p in embed.PROGRAMS if p.template == "cromwell.yaml"]
        assert embed.embedded(boot, text) == text, "run `make stacks`"
        assert (ROOT / "stacks/server_boot.sh").read_text() in script()
        assert script().rstrip().endswith("exec bash /opt/dropwell-server/boot.sh")

    def test_gives_every_setting_that_it_reads(self):
        boot = (ROOT / "stacks/server_boot.sh").read_text()
        for name in re.findall(r'"\$\{(\w+):\?\}"', boot):
            assert re.search(rf"^export .*\b{name}='[^']+'", script(), re.M), name

    def test_brings_the_programs_by_a_layer_that_is_built(self):
        template = cromwell()
        assert f"PROGRAMS='{layer(template)}'" in script()
        makefile = (ROOT / "server/Makefile").read_text()
        assert "build-ServerFiles:" in makefile
        assert layer(template).startswith("ServerFiles")


class TestTheContract:
    def test_is_the_parameters_by_which_others_find_the_server(self):
        template = cromwell(Namespace="lab")
        found = {p["Name"] for p in template.made_of_type("AWS::SSM::Parameter").values()}
        assert found == {
            "/gwfcore/lab/cromwell/certificate",
            "/gwfcore/lab/cromwell/url",
            "/gwfcore/lab/orchestrator",
        }

    def test_gives_the_pipeline_what_it_asks_for(self):
        outputs = cromwell(**EVERYTHING | {"CertificateSecretArn": ""}).outputs
        named = {"CromwellUrl", "CromwellTokenSecretArn", "CromwellTokenKeyArn"}
        named |= {"CromwellCertificateParameter", "SubmissionLimitBytes"}
        assert named <= set(document()["Parameters"]) & set(outputs)
        assert outputs["CromwellTokenSecretArn"] == NAMES["Token"]
        assert outputs["CromwellCertificateParameter"] == NAMES["CertificateParameter"]

    def test_gives_it_no_certificate_to_pin_where_authorities_vouch_for_one(self):
        assert "CromwellCertificateParameter" not in cromwell(**EVERYTHING).outputs

    def test_tells_the_limit_of_submissions_in_bytes(self):
        for mib in cromwell().document["Parameters"]["BodyLimitMiB"]["AllowedValues"]:
            assert cromwell(BodyLimitMiB=mib).outputs["SubmissionLimitBytes"] == str(mib << 20)

    @pytest.mark.parametrize(
        ("stack_of", "outputs"),
        [
            ("core", {"WorkflowBucketName", "JobQueueArns", "BatchLogGroup"}),
            ("database", {"DatabaseHost", "DatabaseName", "DatabaseUser", "DatabaseSecretArn"}),
        ],
    )
    def test_takes_outputs_of_the_others_under_their_names(self, stack_of, outputs):
        assert outputs <= set(stack(stack_of).document["Outputs"])
        assert outputs <= set(cromwell().document["Parameters"])


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ({"PublicAddress": "true"}, "PublicAddress needs CallerCidr"),
            ({"CallerCidr": "0.0.0.0/0"}, "CallerCidr cannot be the whole world"),
        ],
    )
    def test_is_said_in_a_sentence(self, parameters, said):
        [sentence] = cromwell(**parameters).refusals()
        assert sentence.startswith(said)

    @pytest.mark.parametrize("parameters", [{}, EVERYTHING])
    def test_is_neither_the_least_nor_everything(self, parameters):
        assert cromwell(**parameters).refusals() == []
