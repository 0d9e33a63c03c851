"""The genomics core: its bucket, what jobs and workers may do, its workers and queues."""

from __future__ import annotations

import email
import importlib.util
import json

import pytest
import yaml

from dropwell.drops import DATA_FILES
from tests.contract.test_network import services
from tests.transformed import ROOT, STACKS, document, stack

BUCKET = "arn:aws:s3:::workflows"
DATA = "arn:aws:s3:::reads,arn:aws:s3:::references"
KEYS = "arn:aws:kms:eu-west-1:1:key/a,arn:aws:kms:eu-west-1:1:key/b"
ECS = "arn:aws:ecs:eu-west-1:123456789012"
GIVEN = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2"}
EVERYTHING = {
    "DataBucketArns": DATA,
    "DataKeyArns": KEYS,
    "DockerHubSecretArn": "arn:aws:secretsmanager:eu-west-1:1:secret:hub",
    "PullThroughPrefix": "hub",
    "PullThroughSecretArn": "arn:aws:secretsmanager:eu-west-1:1:secret:ecr-pullthroughcache/hub",
    "EfsId": "fs-1",
    "AwsCliUrl": "s3://tools/cli/awscli.zip",
    "AwsCliSha256": "0" * 64,
    "GpuEnvironment": "spot",
    "CapacitySeconds": "7200",
    "CostTags": "Lab=Fungi,Grant=R01 7",
}


def core(**parameters):
    return stack("core", **(GIVEN | parameters))


def job_rights(**parameters):
    return core(BucketName="workflows", **parameters).rights("JobRole")


class TestWhatAJobMayDo:
    def test_is_this_and_nothing_else(self):
        assert job_rights(DataBucketArns=DATA, DataKeyArns=KEYS) == {
            ("s3:GetObject",): {
                f"{BUCKET}/scripts/*",
                f"{BUCKET}/{DATA_FILES}*",
                f"{BUCKET}/cromwell-execution/*",
                "arn:aws:s3:::reads/*",
                "arn:aws:s3:::references/*",
            },
            ("s3:AbortMultipartUpload", "s3:PutObject"): {f"{BUCKET}/cromwell-execution/*"},
            ("s3:ListBucket",): {BUCKET, *DATA.split(",")},
            ("kms:Decrypt", "kms:GenerateDataKey"): set(KEYS.split(",")),
        }

    def test_is_less_where_there_are_no_other_buckets(self):
        assert set(job_rights()) == {
            ("s3:GetObject",),
            ("s3:AbortMultipartUpload", "s3:PutObject"),
            ("s3:ListBucket",),
        }
        assert all("workflows" in where for places in job_rights().values() for where in places)

    def test_is_written_only_below_cromwells_root(self):
        rights = job_rights(ExecutionPrefix="lab/executions")
        assert rights["s3:AbortMultipartUpload", "s3:PutObject"] == {f"{BUCKET}/lab/executions/*"}

    def test_is_for_tasks_of_this_account_alone(self):
        [trust] = core().properties("JobRole")["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
        assert trust["Condition"] == {
            "StringEquals": {"aws:SourceAccount": "123456789012"},
            "ArnLike": {"aws:SourceArn": f"{ECS}:*"},
        }

    def test_is_not_what_its_worker_may_do_unless_asked(self):
        assert core().properties("JobPolicy")["Roles"] == ["JobRole"]
        metadata = core().properties("WorkerTemplate")["LaunchTemplateData"]["MetadataOptions"]
        assert metadata == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}

        shared = core(JobsMayUseWorkerRole="true")
        assert shared.properties("JobPolicy")["Roles"] == ["JobRole", "WorkerRole"]
        metadata = shared.properties("WorkerTemplate")["LaunchTemplateData"]["MetadataOptions"]
        assert metadata["HttpPutResponseHopLimit"] == 2


# Who may do what, to what. Whoever widens a role says so here.
WORKER = {
    (
        "ecs:DeregisterContainerInstance",
        "ecs:RegisterContainerInstance",
        "ecs:SubmitAttachmentStateChanges",
        "ecs:SubmitContainerStateChange",
        "ecs:SubmitTaskStateChange",
    ): {f"{ECS}:cluster/*"},
    ("ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"): {
        f"{ECS}:container-instance/*"
    },
    ("ecs:TagResource",): {f"{ECS}:container-instance/*"},
    ("ec2:DescribeTags", "ecr:GetAuthorizationToken", "ecs:DiscoverPollEndpoint"): {"*"},
    ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"): {
        "arn:aws:ecr:*:*:repository/*"
    },
    ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"): {
        "WorkerLogGroup.Arn",
        "JobLogGroup.Arn",
    },
    (
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    ): {"*"},
}
GROWING = {("ec2:ModifyVolume",): {"arn:aws:ec2:eu-west-1:123456789012:volume/*"}}
OPTIONAL = {
    ("secretsmanager:GetSecretValue",): {EVERYTHING["DockerHubSecretArn"]},
    ("ecr:BatchImportUpstreamImage", "ecr:CreateRepository"): {
        "arn:aws:ecr:eu-west-1:123456789012:repository/hub/*"
    },
    (
        "elasticfilesystem:ClientMount",
        "elasticfilesystem:ClientRootAccess",
        "elasticfilesystem:ClientWrite",
    ): {"arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/fs-1"},
    ("s3:GetObject",): {"arn:aws:s3:::tools/cli/awscli.zip"},
}


class TestWhatAWorkerMayDo:
    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({}, WORKER | GROWING),
            ({"ScratchMaxGiB": "0"}, WORKER),
            (EVERYTHING, WORKER | GROWING | OPTIONAL),
        ],
        ids=["by default", "at least", "with everything"],
    )
    def test_is_this_and_nothing_else(self, parameters, expected):
        assert core(**parameters).rights("WorkerRole") == expected

    def test_is_to_enlarge_volumes_of_this_core_alone(self):
        [statement] = [
            statement
            for statement in core(Namespace="lab").statements("WorkerRole")
            if statement["Action"] == "ec2:ModifyVolume"
        ]
        assert statement["Condition"] == {
            "StringEquals": {"aws:ResourceTag/gwfcore-namespace": "lab"}
        }
        data = core(Namespace="lab").properties("WorkerTemplate")["LaunchTemplateData"]
        [tags] = [t["Tags"] for t in data["TagSpecifications"] if t["ResourceType"] == "volume"]
        assert {"Key": "gwfcore-namespace", "Value": "lab"} in tags

    def test_is_to_log_where_an_existing_group_is_named(self):
        rights = core(JobLogGroupName="/aws/batch/job").rights("WorkerRole")
        group = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/batch/job:*"
        assert (
            group in rights["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        )
        assert "JobLogGroup" not in core(JobLogGroupName="/aws/batch/job").made

    @pytest.mark.parametrize("role", ["JobRole", "WorkerRole"])
    def test_hangs_on_no_managed_policy(self, role):
        assert "ManagedPolicyArns" not in core(**EVERYTHING).properties(role)

    def test_can_be_done_without_internet(self):
        endpoints = {
            endpoint["ServiceName"].removeprefix("com.amazonaws.eu-west-1.")
            for endpoint in stack("network").of_type("AWS::EC2::VPCEndpoint").values()
        }
        used = services("WorkerRole", core(**EVERYTHING))
        assert used <= endpoints
        assert {"ecs-agent", "ecs-telemetry", "ecr.dkr"} <= endpoints


class TestTheBucket:
    def test_is_private_encrypted_reached_by_tls_and_outlives_the_stack(self):
        template = core()
        bucket = template.properties("Bucket")
        assert all(bucket["PublicAccessBlockConfiguration"].values())
        assert bucket["OwnershipControls"] == {
            "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
        }
        assert template.resources["Bucket"]["DeletionPolicy"] == "Retain"
        assert template.resources["Bucket"]["UpdateReplacePolicy"] == "Retain"
        [statement] = template.properties("BucketPolicy")["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Action"]) == ("Deny", "s3:*")
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ("", {"SSEAlgorithm": "AES256"}),
            (KEYS, {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEYS.split(",")[0]}),
        ],
    )
    def test_is_encrypted_under_the_first_key_that_is_given(self, keys, expected):
        configuration = core(DataKeyArns=keys).properties("Bucket")["BucketEncryption"]
        [rule] = configuration["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"] == expected

    def test_tells_eventbridge(self):
        assert core().properties("Bucket")["NotificationConfiguration"] == {
            "EventBridgeConfiguration": {"EventBridgeEnabled": True}
        }

    @pytest.mark.parametrize(
        ("parameters", "rules"),
        [
            ({}, ["unfinished-uploads", "removed-versions", "scripts"]),
            ({"ScriptDays": 0}, ["unfinished-uploads", "removed-versions"]),
            (
                {"ExecutionDays": 90},
                ["unfinished-uploads", "removed-versions", "scripts", "executions"],
            ),
        ],
    )
    def test_forgets_what_it_is_told_to(self, parameters, rules):
        found = core(**parameters).properties("Bucket")["LifecycleConfiguration"]["Rules"]
        assert [rule["Id"] for rule in found] == rules

    def test_never_forgets_an_execution_unasked_and_warns_of_call_caching(self):
        warning = core().document["Parameters"]["ExecutionDays"]["Description"]
        assert "call caching by reference" in warning

    def test_is_not_made_where_one_exists(self):
        existing = core(BucketName="workflows")
        assert not {"Bucket", "BucketPolicy"} & set(existing.made)
        assert existing.outputs["WorkflowBucketName"] == "workflows"
        assert existing.outputs["ExecutionRoot"] == "s3://workflows/cromwell-execution"


def launch(**parameters):
    return core(**parameters).properties("WorkerTemplate")["LaunchTemplateData"]


class TestAWorker:
    def test_terminates_when_it_shuts_down(self):
        assert launch()["InstanceInitiatedShutdownBehavior"] == "terminate"

    def test_has_encrypted_volumes_that_go_with_it(self):
        key = KEYS.split(",")[0]
        for device in launch(DiskKeyArn=key)["BlockDeviceMappings"]:
            ebs = device["Ebs"]
            assert (ebs["VolumeType"], ebs["Encrypted"], ebs["DeleteOnTermination"]) == (
                "gp3",
                True,
                True,
            )
            assert ebs["KmsKeyId"] == key
        assert not any("KmsKeyId" in device["Ebs"] for device in launch()["BlockDeviceMappings"])

    def test_has_scratch_as_large_and_fast_as_asked(self):
        [_, scratch] = launch(ScratchGiB=1000, ScratchIops=6000)["BlockDeviceMappings"]
        assert (scratch["Ebs"]["VolumeSize"], scratch["Ebs"]["Iops"]) == (1000, 6000)
        assert f"SCRATCH_DEVICE={scratch['DeviceName']}" in launch()["UserData"]

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ("", {}),
            ("Lab=Fungi", {"Lab": "Fungi"}),
            ("Lab=Fungi,Grant=R01 7,Who=me", {"Lab": "Fungi", "Grant": "R01 7", "Who": "me"}),
        ],
    )
    def test_carries_tags_for_cost_and_so_do_its_volumes(self, asked, expected):
        own = {"Name": "lab-worker", "gwfcore-namespace": "lab"}
        specifications = launch(CostTags=asked, Namespace="lab")["TagSpecifications"]
        assert [s["ResourceType"] for s in specifications] == ["instance", "volume"]
        for specification in specifications:
            assert {t["Key"]: t["Value"] for t in specification["Tags"]} == own | expected

    def test_takes_no_connections(self):
        group = core().properties("WorkerSecurityGroup")
        assert "SecurityGroupIngress" not in group


def embed():
    spec = importlib.util.spec_from_file_location("embed", ROOT / "worker/embed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestUserData:
    @pytest.fixture
    def parts(self):
        message = email.message_from_string(launch(**EVERYTHING)["UserData"])
        assert message.is_multipart()
        assert not message.defects
        return {part.get_content_type(): part.get_payload() for part in message.get_payload()}

    def test_holds_the_scripts_as_they_are(self, parts):
        text = STACKS["core"].read_text()
        assert embed().embedded(text) == text, "run `make stacks`"
        for name in embed().SCRIPTS:
            assert (ROOT / "worker" / name).read_text() in parts["text/x-shellscript"]
        assert set(embed().SCRIPTS) == {path.name for path in (ROOT / "worker").glob("*.sh")}

    def test_fits_with_room_for_what_batch_adds(self):
        data = launch(**EVERYTHING)["UserData"]
        assert data.isascii()
        assert len(data) < 14_000, "EC2 takes 16384 bytes"

    def test_holds_the_agent_back_before_anything_runs(self, parts):
        config = parts["text/cloud-config"]
        assert config.startswith("#cloud-config\n")
        [_, held, reload] = yaml.safe_load(config)["bootcmd"]
        assert "ConditionPathExists=/var/lib/worker/provisioned" in held
        assert reload == "systemctl daemon-reload"

    def test_gives_every_setting_that_provisioning_reads(self, parts):
        script = parts["text/x-shellscript"]
        head = script.split("mkdir -p /opt/worker")[0]
        for setting in (
            "SCRATCH_MAX_GIB='2000'",
            "CLI_URL='s3://tools/cli/awscli.zip'",
            f"CLI_SHA256='{'0' * 64}'",
            "LOG_GROUP='WorkerLogGroup'",
            "AWS_DEFAULT_REGION='eu-west-1'",
            "EFS_ID='fs-1'",
            f"DOCKER_HUB_SECRET='{EVERYTHING['DockerHubSecretArn']}'",
            "ALLOW_PRIVILEGED='false'",
        ):
            assert setting in head
        assert script.rstrip().endswith("exec bash /opt/worker/provision.sh")


ENVIRONMENTS = ("SpotEnvironment", "OnDemandEnvironment", "GpuComputeEnvironment")


class TestComputeEnvironments:
    @pytest.mark.parametrize("name", ENVIRONMENTS)
    def test_can_be_updated_in_place(self, name):
        environment = core(**EVERYTHING).properties(name)
        assert environment["ReplaceComputeEnvironment"] is False
        assert "ServiceRole" not in environment
        assert environment["UpdatePolicy"]["TerminateJobsOnUpdate"] is False
        resources = environment["ComputeResources"]
        assert resources["AllocationStrategy"] in {
            "SPOT_PRICE_CAPACITY_OPTIMIZED",
            "BEST_FIT_PROGRESSIVE",
        }
        assert resources["LaunchTemplate"] == {
            "LaunchTemplateId": "WorkerTemplate",
            "Version": "WorkerTemplate.LatestVersionNumber",
        }
        assert "SpotIamFleetRole" not in resources

    @pytest.mark.parametrize(
        ("name", "kind", "strategy"),
        [
            ("SpotEnvironment", "SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED"),
            ("OnDemandEnvironment", "EC2", "BEST_FIT_PROGRESSIVE"),
        ],
    )
    def test_are_one_on_spot_and_one_on_demand(self, name, kind, strategy):
        resources = core().properties(name)["ComputeResources"]
        assert (resources["Type"], resources["AllocationStrategy"]) == (kind, strategy)
        assert resources["Ec2Configuration"] == [{"ImageType": "ECS_AL2023"}]
        assert resources["Subnets"] == ["subnet-1", "subnet-2"]
        assert resources["MinvCpus"] == 0, "nothing is paid for while nothing runs"
        assert ("BidPercentage" in resources) == (kind == "SPOT")

    @pytest.mark.parametrize(
        ("asked", "kind", "strategy"),
        [
            ("spot", "SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED"),
            ("on-demand", "EC2", "BEST_FIT_PROGRESSIVE"),
        ],
    )
    def test_with_gpu_are_made_as_asked(self, asked, kind, strategy):
        environment = core(GpuEnvironment=asked).properties("GpuComputeEnvironment")
        resources = environment["ComputeResources"]
        assert (resources["Type"], resources["AllocationStrategy"]) == (kind, strategy)
        assert resources["Ec2Configuration"] == [{"ImageType": "ECS_AL2023_NVIDIA"}]
        assert resources["InstanceTypes"] == ["g4dn", "g5", "g6"]

    def test_with_gpu_are_not_made_unless_asked(self):
        assert not [name for name in core().made if name.startswith("Gpu")]

    def test_use_an_image_of_ones_own(self):
        resources = core(ImageId="ami-1").properties("SpotEnvironment")["ComputeResources"]
        [image] = resources["Ec2Configuration"]
        assert image == {"ImageType": "ECS_AL2023", "ImageIdOverride": "ami-1"}


class TestQueues:
    @pytest.mark.parametrize("name", ["DefaultQueue", "PriorityQueue", "GpuQueue"])
    def test_end_what_can_never_run_and_report_what_waits_for_capacity(self, name):
        actions = core(GpuEnvironment="spot").properties(name)["JobStateTimeLimitActions"]
        assert {a["Reason"]: a["MaxTimeSeconds"] for a in actions} == {
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": 3600,
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": 3600,
        }
        assert {(a["State"], a["Action"]) for a in actions} == {("RUNNABLE", "CANCEL")}

    def test_end_what_waits_for_capacity_only_when_asked(self):
        actions = core(CapacitySeconds="7200").properties("DefaultQueue")[
            "JobStateTimeLimitActions"
        ]
        waits = {a["Reason"]: a["MaxTimeSeconds"] for a in actions}
        assert waits["CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"] == "7200"

    def test_never_spill_from_spot_to_on_demand(self):
        template = core(GpuEnvironment="spot")
        assert {
            name: [order["ComputeEnvironment"] for order in queue["ComputeEnvironmentOrder"]]
            for name, queue in template.made_of_type("AWS::Batch::JobQueue").items()
        } == {
            "DefaultQueue": ["SpotEnvironment"],
            "PriorityQueue": ["OnDemandEnvironment"],
            "GpuQueue": ["GpuComputeEnvironment"],
        }

    def test_have_the_priorities_that_their_names_say(self):
        queues = core().made_of_type("AWS::Batch::JobQueue")
        assert queues["PriorityQueue"]["Priority"] > queues["DefaultQueue"]["Priority"]


class TestSharedFiles:
    @pytest.mark.parametrize(("subnets", "mounts"), [(1, "A"), (2, "AB"), (3, "ABC")])
    def test_are_reached_from_each_subnet_by_workers_alone(self, subnets, mounts):
        template = core(EfsSubnets=subnets, SubnetIds="subnet-1,subnet-2,subnet-3")
        targets = template.made_of_type("AWS::EFS::MountTarget")
        assert {name[-1]: target["SubnetId"] for name, target in targets.items()} == {
            mount: f"subnet-{number}" for number, mount in enumerate(mounts, start=1)
        }
        [door] = template.properties("SharedFilesSecurityGroup")["SecurityGroupIngress"]
        assert (door["SourceSecurityGroupId"], door["FromPort"]) == ("WorkerSecurityGroup", 2049)

    def test_are_encrypted_and_shown_to_no_other_role(self):
        files = core(EfsSubnets=2).properties("SharedFiles")
        assert files["Encrypted"] is True
        [statement] = files["FileSystemPolicy"]["Statement"]
        assert statement["Principal"] == {"AWS": "WorkerRole.Arn"}
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "true"}}

    def test_are_mounted_by_workers(self):
        template = core(EfsSubnets=2)
        assert "EFS_ID='SharedFiles'" in launch(EfsSubnets=2)["UserData"]
        [where] = [
            places
            for actions, places in template.rights("WorkerRole").items()
            if "elasticfilesystem:ClientMount" in actions
        ]
        assert where == {"arn:aws:elasticfilesystem:eu-west-1:123456789012:file-system/SharedFiles"}
        assert template.properties("EfsParameter")["Value"] == "SharedFiles"

    def test_are_not_made_unless_asked(self):
        made = {name for name in core(EfsId="fs-1").made if name.startswith("SharedFiles")}
        assert made == {"SharedFilesPolicy"}, "for the workers' own role"
        assert not [name for name in core().made if name.startswith("SharedFiles")]


class TestTheContract:
    def test_is_the_parameters_by_which_others_find_a_core(self):
        parameters = core(Namespace="lab", BucketName="workflows", **{"GpuEnvironment": "spot"})
        found = {
            p["Name"]: p["Value"] for p in parameters.made_of_type("AWS::SSM::Parameter").values()
        }
        assert found == {
            "/gwfcore/lab/s3-bucket": "workflows",
            "/gwfcore/lab/execution-root": "s3://workflows/cromwell-execution",
            "/gwfcore/lab/job-queue/default": "DefaultQueue",
            "/gwfcore/lab/job-queue/priority": "PriorityQueue",
            "/gwfcore/lab/job-queue/gpu": "GpuQueue",
            "/gwfcore/lab/job-role": "JobRole.Arn",
            "/gwfcore/lab/job-log-group": "JobLogGroup",
            "/gwfcore/lab/efs-shared-file-system": "none",
        }

    def test_is_by_the_stacks_name_unless_told(self):
        names = {p["Name"] for p in core().made_of_type("AWS::SSM::Parameter").values()}
        assert {name.split("/")[2] for name in names} == {"dropwell"}

    def test_gives_the_pipeline_what_it_asks_for(self):
        outputs = core(GpuEnvironment="spot").outputs
        assert outputs["JobQueueArns"] == "DefaultQueue,PriorityQueue,GpuQueue"
        assert json.loads(outputs["EnforcedOptions"]) == {"aws_batch_job_role_arn": "JobRole.Arn"}
        named = {"WorkflowBucketName", "JobQueueArns", "BatchLogGroup", "EnforcedOptions"}
        assert named <= set(document()["Parameters"]) & set(outputs)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ({"PullThroughPrefix": "hub"}, "PullThroughPrefix needs PullThroughSecretArn"),
            ({"PullThroughSecretArn": "arn:x"}, "PullThroughSecretArn needs PullThroughPrefix"),
            ({"AwsCliUrl": "https://x/y.zip"}, "AwsCliUrl needs AwsCliSha256"),
            ({"EfsId": "fs-1", "EfsSubnets": 2}, "EfsId and EfsSubnets exclude each other"),
        ],
    )
    def test_is_said_in_a_sentence(self, parameters, said):
        [sentence] = core(**parameters).refusals()
        assert sentence.startswith(said)

    @pytest.mark.parametrize("parameters", [{}, EVERYTHING])
    def test_is_neither_the_least_nor_everything(self, parameters):
        assert core(**parameters).refusals() == []
