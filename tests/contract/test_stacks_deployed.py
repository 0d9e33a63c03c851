"""The stacks on the emulator, as far as it goes: what it makes, and the list of what it cannot."""

from __future__ import annotations

import base64
import json
import re

import boto3
import pytest
from botocore.exceptions import ClientError

from dropwell_local.emulator import CREDENTIALS, REGION, running_emulator
from tests.contract.test_cromwell_stack import GIVEN as SERVER
from tests.transformed import ROOT, STACKS, stack, told_to_observability

EMULATOR = ROOT / ".tools/emulator/bin/python"
NETWORK = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2"}
BATCH = ["AWS::Batch::ComputeEnvironment", "AWS::Batch::JobQueue"]


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    with running_emulator(python=EMULATOR, folder=tmp_path_factory.mktemp("aws")) as url:

        def client(service, key_id=None, secret=None, token=None):
            return boto3.client(
                service,
                endpoint_url=url,
                region_name=REGION,
                aws_access_key_id=key_id or CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=secret or CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                aws_session_token=token,
            )

        yield client


@pytest.fixture
def deploy(aws):
    """Return what deploys a template and gives its outputs."""
    formation = aws("cloudformation")

    def deployed(stack, name, /, body=None, **parameters):
        formation.create_stack(
            StackName=name,
            TemplateBody=body or STACKS[stack].read_text(),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()
            ],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        formation.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        [told] = formation.describe_stacks(StackName=name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in told["Outputs"]}

    return deployed


def worked_out(name, **parameters):
    """Return a stack, worked out where the emulator does not: it splits nothing in conditions."""
    template = stack(name, **parameters)
    document = json.loads(json.dumps(template.document))
    for name, condition in document["Conditions"].items():
        if "Fn::Split" in json.dumps(condition):
            document["Conditions"][name] = {"Fn::Equals": [str(template.holds(name)), "True"]}
    del document["Metadata"]  # past 51,200 bytes a template has to come from S3
    return document


def without_batch(**parameters):
    """Return the core with something of no consequence in place of what the emulator lacks."""
    document = worked_out("core", **parameters)
    for resource in document["Resources"].values():
        if resource["Type"] in BATCH:
            resource["Type"] = "AWS::CloudFormation::WaitConditionHandle"
            del resource["Properties"]
    return compact(document)


def compact(document):
    return json.dumps(document, separators=(",", ":"))


def refused(deploy, stack, body=None, **parameters):
    """Return the types that the emulator does not know."""
    with pytest.raises(ClientError) as error:
        deploy(stack, "refused", body, **parameters)
    [named] = re.findall(r"Unrecognized resource types: \[(.*)\]", str(error.value))
    return named.split(", ")


def taking_up(role, aws):
    """Return what makes clients with a role's rights; that we may take it up, too, comes first."""
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    aws("iam").update_assume_role_policy(
        RoleName=role.rpartition("/")[2],
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    keys = aws("sts").assume_role(RoleArn=role, RoleSessionName="taken-up")["Credentials"]
    return lambda service: aws(
        service, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]
    )


class TestTheNetwork:
    def test_is_made_but_for_these(self, deploy):
        assert refused(deploy, "network", FlowLogs="all") == [
            "AWS::EC2::EIP",
            "AWS::EC2::FlowLog",
            "AWS::EC2::NatGateway",
        ]

    def test_without_internet_is_made_whole(self, deploy, aws):
        outputs = deploy("network", "closed", NatGateways="none", InterfaceEndpoints="true")
        private = outputs["PrivateSubnetIds"].split(",")
        told = aws("ec2").describe_subnets(SubnetIds=private)["Subnets"]
        assert {subnet["VpcId"] for subnet in told} == {outputs["VpcId"]}
        assert len({subnet["AvailabilityZone"] for subnet in told}) == 3
        endpoints = aws("ec2").describe_vpc_endpoints()["VpcEndpoints"]
        assert {e["ServiceName"].rpartition(".")[2] for e in endpoints} >= {"s3", "sqs", "batch"}

    def test_that_leads_nowhere_is_refused_before_anything_is_made(self, deploy):
        with pytest.raises(ClientError, match="Without NAT gateways"):
            deploy("network", "nowhere", NatGateways="none")


class TestObservability:
    def test_is_made_but_for_these(self, deploy):
        types = refused(deploy, "observability", **told_to_observability())
        assert types == ["AWS::Logs::QueryDefinition"]

    def test_watches_the_queues_whose_urls_it_is_told(self, deploy, aws):
        document = json.loads(json.dumps(stack("observability").document))
        for name, resource in list(document["Resources"].items()):
            if resource["Type"] == "AWS::Logs::QueryDefinition":
                del document["Resources"][name]
        url = aws("sqs").create_queue(QueueName="drops")["QueueUrl"]
        told = told_to_observability() | {"DropQueue": url}
        outputs = deploy("observability", "watch", compact(document), **told)
        alarms = aws("cloudwatch").describe_alarms(AlarmNamePrefix="DropQueue")["MetricAlarms"]
        [alarm] = alarms
        assert alarm["AlarmName"] == "DropQueue is not worked off (dropwell)"
        assert alarm["Dimensions"] == [{"Name": "QueueName", "Value": "drops"}]
        assert alarm["AlarmActions"] == [outputs["AlarmTopicArn"]]
        board = aws("cloudwatch").get_dashboard(DashboardName="dropwell")["DashboardBody"]
        assert '["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "drops",' in board
        assert len(json.loads(board)["widgets"]) == 13


class TestTheCore:
    def test_is_made_but_for_these(self, deploy):
        secret = "arn:aws:secretsmanager:us-east-1:1:secret:ecr-pullthroughcache/hub"
        cache = {"PullThroughPrefix": "hub", "PullThroughSecretArn": secret}
        types = refused(deploy, "core", compact(worked_out("core", **cache)), **NETWORK, **cache)
        assert types == [*BATCH, "AWS::ECR::PullThroughCacheRule"]

    def test_is_made_twice_side_by_side_and_found_by_its_namespace(self, deploy, aws):
        body = without_batch()
        first = deploy("core", "lab-a-core", body, Namespace="lab-a", **NETWORK)
        second = deploy("core", "lab-b-core", body, Namespace="lab-b", **NETWORK)
        for outputs, namespace in ((first, "lab-a"), (second, "lab-b")):
            told = aws("ssm").get_parameters_by_path(Path=f"/gwfcore/{namespace}/", Recursive=True)
            found = {p["Name"].split("/", 3)[3]: p["Value"] for p in told["Parameters"]}
            assert found["s3-bucket"] == outputs["WorkflowBucketName"]
            assert found["job-role"] == outputs["JobRoleArn"]
            assert found["job-log-group"] == outputs["BatchLogGroup"]
        shared = set(first.values()) & set(second.values())
        assert not [value for value in shared if "WaitCondition" not in value]

    def test_makes_a_bucket_that_is_private_and_tells_eventbridge(self, deploy, aws):
        outputs = deploy("core", "bucket", without_batch(), **NETWORK)
        s3, bucket = aws("s3"), {"Bucket": outputs["WorkflowBucketName"]}
        blocked = s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"]
        assert all(blocked.values())
        assert "EventBridgeConfiguration" in s3.get_bucket_notification_configuration(**bucket)
        assert "SecureTransport" in s3.get_bucket_policy(**bucket)["Policy"]

    def test_makes_workers_with_our_scripts_in_a_network_of_ours(self, deploy, aws):
        network = deploy("network", "open", NatGateways="none", PublicAddresses="true")
        place = {"VpcId": network["VpcId"], "SubnetIds": network["PublicSubnetIds"]}
        outputs = deploy("core", "workers", without_batch(), EfsSubnets="3", **place)
        formation, ec2 = aws("cloudformation"), aws("ec2")
        told = formation.describe_stack_resource(
            StackName="workers", LogicalResourceId="WorkerTemplate"
        )
        template = told["StackResourceDetail"]["PhysicalResourceId"]
        [version] = ec2.describe_launch_template_versions(LaunchTemplateId=template)[
            "LaunchTemplateVersions"
        ]
        data = base64.b64decode(version["LaunchTemplateData"]["UserData"]).decode()
        assert f"LOG_GROUP='{outputs['WorkerLogGroupName']}'" in data
        [files] = aws("efs").describe_file_systems()["FileSystems"]
        assert f"EFS_ID='{files['FileSystemId']}'" in data
        for script in (ROOT / "worker").glob("*.sh"):
            assert script.read_text() in data

    def test_that_would_run_an_unknown_cli_is_refused(self, deploy):
        with pytest.raises(ClientError, match="AwsCliUrl needs AwsCliSha256"):
            deploy("core", "unknown", without_batch(), AwsCliUrl="s3://a/b.zip", **NETWORK)


class TestTheDatabase:
    def test_is_made_but_for_these(self, deploy):
        document = compact(stack("database").document)
        assert refused(deploy, "database", document, **NETWORK) == ["AWS::EC2::SecurityGroupEgress"]


class TestTheServer:
    def test_is_made_but_for_these(self, deploy):
        document = compact(worked_out("cromwell", **SERVER))
        assert refused(deploy, "cromwell", document, **SERVER) == ["AWS::EC2::NetworkInterface"]


def without_address(**parameters):
    """Return the server with an address of no consequence, and a layer without programs."""
    document = worked_out("cromwell", **SERVER, **parameters)
    for resource in document["Resources"].values():
        if resource["Type"] in {"AWS::EC2::NetworkInterface", "AWS::Lambda::LayerVersion"}:
            resource["Type"] = "AWS::CloudFormation::WaitConditionHandle"
            del resource["Properties"]
    text = compact(document).replace("${Address.PrimaryPrivateIpAddress}", "10.0.3.7")
    got = compact({"Fn::GetAtt": ["Address", "PrimaryPrivateIpAddress"]})
    return text.replace(got, '"10.0.3.7"')


class TestAServer:
    """With the emulator's own IAM, which refuses what no policy allows."""

    @pytest.fixture
    def outputs(self, deploy, aws, request):
        for bucket in ("workflows", "our-reads", "results", "their-reads"):
            aws("s3").create_bucket(Bucket=bucket)
        places = {
            "DataBucketArns": "arn:aws:s3:::our-reads",
            "OutputArns": "arn:aws:s3:::results/cromwell",
        }
        name = request.node.name.replace("_", "-")[:40]
        return deploy("cromwell", name, without_address(**places), **SERVER, **places)

    @pytest.fixture
    def server(self, outputs, aws):
        """Return what makes clients as the server has them; only EC2 may take up its role."""
        return taking_up(outputs["ServerRoleArn"], aws)

    def test_reads_and_writes_what_is_its_own_and_nothing_else(self, server, aws):
        s3 = server("s3")
        for key in ("cromwell-execution/1/script", "scripts/1"):
            s3.put_object(Bucket="workflows", Key=key, Body=b"x")
            assert s3.get_object(Bucket="workflows", Key=key)["ContentLength"] == 1
            s3.delete_object(Bucket="workflows", Key=key)
        for bucket, key in (("workflows", "dropwell/inputs/1/a.fq"), ("our-reads", "a.fq")):
            aws("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
            assert s3.get_object(Bucket=bucket, Key=key)["ContentLength"] == 1
            s3.list_objects_v2(Bucket=bucket)
        s3.put_object(Bucket="results", Key="cromwell/out.bam", Body=b"x")

        refusals = [
            lambda: s3.put_object(Bucket="workflows", Key="dropwell/inputs/1/a.fq", Body=b"y"),
            lambda: s3.put_object(Bucket="our-reads", Key="a.fq", Body=b"y"),
            lambda: s3.delete_object(Bucket="results", Key="cromwell/out.bam"),
            lambda: s3.put_object(Bucket="results", Key="others/out.bam", Body=b"y"),
            lambda: s3.list_objects_v2(Bucket="their-reads"),
        ]
        for refused_call in refusals:
            with pytest.raises(ClientError, match="AccessDenied"):
                refused_call()

    def test_publishes_its_certificate_and_changes_no_other_parameter(self, server, outputs):
        ssm, name = server("ssm"), outputs["CromwellCertificateParameter"]
        ssm.put_parameter(Name=name, Value="PEM", Type="String", Overwrite=True)
        assert ssm.get_parameter(Name=name)["Parameter"]["Value"] == "PEM"
        other = name.replace("certificate", "url")
        with pytest.raises(ClientError, match="AccessDenied"):
            ssm.put_parameter(Name=other, Value="x", Type="String", Overwrite=True)


class TestAJobOfTheCore:
    """With the emulator's own IAM, which refuses what no policy allows."""

    @pytest.fixture
    def buckets(self, aws):
        for bucket in ("our-reads", "their-reads"):
            aws("s3").create_bucket(Bucket=bucket)
            aws("s3").put_object(Bucket=bucket, Key="sample.fq", Body=b"@")

    @pytest.fixture
    def outputs(self, deploy, buckets, request):
        reads = {"DataBucketArns": "arn:aws:s3:::our-reads"}
        name = request.node.name.replace("_", "-")
        return deploy("core", name, without_batch(**reads), **reads, **NETWORK)

    @pytest.fixture
    def job(self, outputs, aws):
        """Return S3 as a job sees it; only ECS may take up its role."""
        return taking_up(outputs["JobRoleArn"], aws)("s3")

    def test_does_its_work_and_nothing_else(self, job, outputs, aws):
        bucket = outputs["WorkflowBucketName"]
        for key in ("scripts/1", "dropwell/inputs/1/reads.fq", "cromwell-execution/other/out.bam"):
            aws("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
            assert job.get_object(Bucket=bucket, Key=key)["ContentLength"] == 1
        job.put_object(Bucket=bucket, Key="cromwell-execution/1/task-rc.txt", Body=b"0")
        job.list_objects_v2(Bucket=bucket, Prefix="cromwell-execution/1/")
        assert job.get_object(Bucket="our-reads", Key="sample.fq")["ContentLength"] == 1
        job.list_objects_v2(Bucket="our-reads")

        refusals = [
            lambda: job.put_object(Bucket=bucket, Key="scripts/2", Body=b"x"),
            lambda: job.put_object(Bucket="our-reads", Key="sample.fq", Body=b"x"),
            lambda: job.delete_object(Bucket=bucket, Key="cromwell-execution/1/task-rc.txt"),
            lambda: job.get_object(Bucket="their-reads", Key="sample.fq"),
            lambda: job.list_objects_v2(Bucket="their-reads"),
            lambda: job.list_buckets(),
        ]
        for refused_call in refusals:
            with pytest.raises(ClientError, match="AccessDenied"):
                refused_call()

    def test_has_a_role_that_nobody_else_takes_up(self, outputs, aws):
        with pytest.raises(ClientError, match="AccessDenied"):
            aws("sts").assume_role(RoleArn=outputs["JobRoleArn"], RoleSessionName="a-person")
