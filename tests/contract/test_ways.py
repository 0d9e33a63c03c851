"""The three ways in: what each makes, and that all which is made fits together."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache

import pytest

from dropwell.settings import SubmitterSettings
from dropwell_local.handlers_here import leave_out_a_new_cromwell
from tests.contract.test_template import IN_A_VPC, rights
from tests.transformed import ROOT, Template, document, stack, template, told_to_observability

ACCOUNT = "eu-west-1:123456789012"
SECRETS = f"arn:aws:secretsmanager:{ACCOUNT}:secret"
KEY = f"arn:aws:kms:{ACCOUNT}:key"
QUEUES = [f"arn:aws:batch:{ACCOUNT}:job-queue/{name}" for name in ("spot", "on-demand", "gpu")]
ROLE = "arn:aws:iam::123456789012:role/core-job"

# In the order in which they are made, with what CloudFormation would call what is in them.
NESTED = {
    "Network": {"Vpc": "vpc-a"},
    "Core": {
        "Bucket": "workflows",
        "DefaultQueue": QUEUES[0],
        "PriorityQueue": QUEUES[1],
        "GpuQueue": QUEUES[2],
        "JobRole.Arn": ROLE,
        "JobLogGroup": "core-jobs",
    },
    "Database": {
        "Cluster.Endpoint.Address": "db.cluster-1.eu-west-1.rds.amazonaws.com",
        "UserSecret": f"{SECRETS}:database-AbCdEf",
        "ClientSecurityGroup": "sg-d",
    },
    "Cromwell": {
        "UrlParameter.Value": "https://cromwell.dropwell.internal",
        "Token": f"{SECRETS}:token-AbCdEf",
        "CertificateParameter": "/gwfcore/dropwell/cromwell/certificate",
        "CallerSecurityGroup": "sg-c",
    },
}
NEW: dict[str, str] = {}
IN_A_VPC_THAT_EXISTS = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2"}
EXISTING = {"CromwellUrl": "https://cromwell"}
WAYS = {
    "everything new": (NEW, {"Network", "Core", "Database", "Cromwell"}),
    "a VPC that exists": (IN_A_VPC_THAT_EXISTS, {"Core", "Database", "Cromwell"}),
    "a Cromwell that exists": (EXISTING, set()),
}
MORE = {
    "by default": {},
    "with keys, tags and names": {
        "BucketKeyArns": f"{KEY}/data",
        "DiskKeyArn": f"{KEY}/disk",
        "DatabaseKeyArn": f"{KEY}/database",
        "LogKeyArn": f"{KEY}/logs",
        "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/bound",
        "RolePath": "/batch/",
        "RoleNamePrefix": "acme-",
        "Namespace": "lab",
        "CostTags": "Project=wgs,Owner=lab",
        "WorkflowBucketName": "our-workflows",
        "DataBucketArns": "arn:aws:s3:::reads,arn:aws:s3:::references",
        "OutputArns": "arn:aws:s3:::results/cromwell",
        "GpuEnvironment": "spot",
        "Zones": "2",
        "BodyLimitMiB": "128",
        "Servers": "0",
        "JobRoleArns": "arn:aws:iam::123456789012:role/a,arn:aws:iam::123456789012:role/b",
        "Alarms": "true",
    },
    "without internet": {
        "NatGateways": "none",
        "InterfaceEndpoints": "true",
        "JarUrl": "s3://tools/cromwell-92.jar",
        "DatabaseCaUrl": "s3://tools/ca.pem",
        "AwsCliUrl": "s3://tools/cli.zip",
        "AwsCliSha256": "0" * 64,
    },
}


def parts(name, root):
    """Return a nested stack as our template has it made."""
    return stack(name.lower(), NESTED[name], **root.properties(name)["Parameters"])


@cache
def _deployed(parameters: frozenset[tuple[str, str]]) -> Template:
    names: dict[str, str] = {}
    for name in NESTED:
        root = template(names, **dict(parameters))
        if name in root.made:
            told = parts(name, root).outputs
            names |= {f"{name}.Outputs.{output}": value for output, value in told.items()}
    watched = stack("observability", **told_to_observability()).outputs
    names |= {f"Observability.Outputs.{output}": value for output, value in watched.items()}
    return template(names, **dict(parameters))


def deployed(**parameters):
    """Return our template as it is with these parameters, and what its nested stacks tell it."""
    return _deployed(frozenset(parameters.items()))


@pytest.fixture(params=[f"{way}, {more}" for way in WAYS for more in MORE])
def root(request):
    way, more = request.param.split(", ", 1)
    return deployed(**WAYS[way][0], **MORE[more])


def nested(root):
    return {
        name: resource
        for name, resource in root.made.items()
        if resource["Type"] == "AWS::CloudFormation::Stack" and name in NESTED
    }


class TestEveryWay:
    @pytest.mark.parametrize("way", WAYS)
    def test_makes_what_is_not_there_and_no_more(self, way):
        parameters, made = WAYS[way]
        assert set(nested(deployed(**parameters))) == made

    def test_asks_nested_stacks_only_for_what_they_tell(self, root):
        for resource in root.made.values():
            assert ".Outputs." not in json.dumps(root.resolved(resource.get("Properties", {})))
        assert ".Outputs." not in json.dumps(root.outputs)

    def test_gives_nested_stacks_all_that_they_ask_for_and_nothing_else(self, root):
        for name in nested(root):
            known = parts(name, root).document["Parameters"]
            asked = {one for one, what in known.items() if "Default" not in what}
            assert asked <= set(root.properties(name)["Parameters"]) <= set(known), name

    def test_gives_nested_stacks_what_they_take(self, root):
        for name in nested(root):
            made = parts(name, root)
            assert made.refusals() == []
            for parameter, value in root.properties(name)["Parameters"].items():
                what = made.document["Parameters"][parameter]
                assert re.fullmatch(what.get("AllowedPattern", "(?s).*"), str(value)), parameter
                values = what.get("AllowedValues", [value])
                assert str(value) in map(str, values), parameter

    def test_is_refused_nothing(self, root):
        assert root.refusals() == []

    def test_leaves_no_setting_of_the_pipeline_empty_that_opens_cromwells_door(self, root):
        environment = root.environment("SubmitterFunction")
        new = bool(nested(root))
        assert environment["CROMWELL_URL"]
        assert bool(environment["CROMWELL_TOKEN_SECRET_ARN"]) is new
        assert bool(environment["CROMWELL_CERTIFICATE_PARAMETER"]) is new


@pytest.mark.parametrize("parameters", [NEW, IN_A_VPC_THAT_EXISTS], ids=["new", "vpc"])
class TestANewCromwell:
    def test_tells_the_pipeline_its_settings(self, parameters):
        made = deployed(**parameters)
        submitter = made.environment("SubmitterFunction")
        assert submitter["CROMWELL_URL"] == "https://cromwell.dropwell.internal"
        assert submitter["CROMWELL_CERTIFICATE_PARAMETER"].startswith("/gwfcore/dropwell/")
        assert submitter["CROMWELL_TOKEN_SECRET_ARN"] == f"{SECRETS}:token-AbCdEf"
        assert submitter["SUBMISSION_LIMIT_BYTES"] == str(64 * 2**20)
        assert json.loads(submitter["ENFORCED_OPTIONS"]) == {"aws_batch_job_role_arn": ROLE}
        for function in ("SubmitterFunction", "StatusWatcherFunction", "LogRouterFunction"):
            assert made.environment(function)["WORKFLOW_BUCKET"] == "workflows"
        router = made.environment("LogRouterFunction")
        assert router["SCRIPT_BUCKET"] == "workflows"
        assert router["BATCH_LOG_GROUP"] == "core-jobs"
        assert "WorkflowBucket" not in made.made

    def test_has_its_queues_heard_and_no_others(self, parameters):
        made = deployed(**parameters)
        for rule in ("JobStateRule", "QueueBlockedRule"):
            heard = made.properties(rule)["EventPattern"]["detail"]
            assert QUEUES[:2] in (heard.get("jobQueue"), *heard.values())

    def test_has_its_bucket_heard(self, parameters):
        pattern = deployed(**parameters).properties("ReturnCodeRule")["EventPattern"]
        assert pattern["detail"]["bucket"]["name"] == ["workflows"]

    def test_is_called_from_its_own_network_with_its_own_group(self, parameters):
        made = deployed(**parameters)
        subnets = parameters.get("SubnetIds", "PrivateSubnetA,PrivateSubnetB,PrivateSubnetC")
        for function in ("SubmitterFunction", "StatusWatcherFunction"):
            assert made.properties(function)["VpcConfig"] == {
                "SubnetIds": subnets.split(","),
                "SecurityGroupIds": ["sg-c"],
            }
        assert rights("SubmitterRole", made)[IN_A_VPC] == {"*"}

    def test_stands_on_one_network_one_core_and_one_database(self, parameters):
        made = deployed(**parameters)
        core, database, cromwell = (
            made.properties(name)["Parameters"] for name in ("Core", "Database", "Cromwell")
        )
        vpc = parameters.get("VpcId", "vpc-a")
        assert {core["VpcId"], database["VpcId"], cromwell["VpcId"]} == {vpc}
        assert core["SubnetIds"] == database["SubnetIds"]
        assert cromwell["SubnetId"] == core["SubnetIds"].split(",")[0]
        assert core["Namespace"] == cromwell["Namespace"] == "dropwell"
        assert cromwell["WorkflowBucketName"] == "workflows"
        assert cromwell["JobQueueArns"] == ",".join(QUEUES[:2])
        assert cromwell["JobRoleArns"] == ROLE
        assert cromwell["BatchLogGroup"] == "core-jobs"
        assert cromwell["DatabaseHost"] == "db.cluster-1.eu-west-1.rds.amazonaws.com"
        assert cromwell["DatabaseSecretArn"] == f"{SECRETS}:database-AbCdEf"
        assert cromwell["DatabaseClientSecurityGroupId"] == "sg-d"

    def test_and_its_database_take_the_same_submissions(self, parameters):
        made = deployed(BodyLimitMiB="128", **parameters)
        limits = {
            made.properties(n)["Parameters"]["BodyLimitMiB"] for n in ("Database", "Cromwell")
        }
        assert limits == {"128"}
        assert made.environment("SubmitterFunction")["SUBMISSION_LIMIT_BYTES"] == str(128 * 2**20)

    def test_opens_its_door_to_the_functions_that_call_it(self, parameters):
        made = deployed(DatabaseKeyArn=f"{KEY}/database", **parameters)
        for role in ("SubmitterRole", "StatusWatcherRole"):
            may = rights(role, made)
            assert may["secretsmanager:GetSecretValue",] == {f"{SECRETS}:token-AbCdEf"}
            assert may["kms:Decrypt",] == {f"{KEY}/database"}
            certificate = "parameter/gwfcore/dropwell/cromwell/certificate"
            assert may["ssm:GetParameter",] == {f"arn:aws:ssm:{ACCOUNT}:{certificate}"}

    @pytest.mark.parametrize(
        "text", ['{"a": {"b": "{}"}}', '{\n  "final_workflow_log_dir": "s3://a/{b}"\n}']
    )
    def test_gives_jobs_their_role_beside_what_the_operator_enforces(self, parameters, text):
        made = deployed(EnforcedOptions=text, **parameters)
        pattern = made.document["Parameters"]["EnforcedOptions"]["AllowedPattern"]
        assert re.fullmatch(pattern, text)
        options = SubmitterSettings.of(made.environment("SubmitterFunction")).enforced_options
        assert options == {"aws_batch_job_role_arn": ROLE, **json.loads(text)}

    def test_gives_projects_jobs_the_roles_that_are_named(self, parameters):
        theirs = "arn:aws:iam::123456789012:role/cardio"
        made = deployed(JobRoleArns=theirs, **parameters)
        assert made.properties("Cromwell")["Parameters"]["JobRoleArns"] == f"{ROLE},{theirs}"

    def test_is_found_by_the_command_in_outputs_named_as_the_parameters(self, parameters):
        made = deployed(**parameters)
        seen = made.environment("SubmitterFunction")
        for output, setting in (
            ("CromwellUrl", "CROMWELL_URL"),
            ("CromwellCertificateParameter", "CROMWELL_CERTIFICATE_PARAMETER"),
            ("CromwellTokenSecretArn", "CROMWELL_TOKEN_SECRET_ARN"),
        ):
            assert made.outputs[output] == seen[setting]
        assert made.outputs["BatchLogGroup"] == "core-jobs"
        assert made.outputs["SubnetIds"]

    def test_settles_in_a_bucket_that_exists(self, parameters):
        made = deployed(WorkflowBucketName="ours", **parameters)
        assert made.properties("Core")["Parameters"]["BucketName"] == "ours"
        assert made.environment("LogRouterFunction")["WORKFLOW_BUCKET"] == "ours"
        assert made.outputs["WorkflowBucket"] == "ours"


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("parameters", "said"),
        [
            ({"VpcId": "vpc-1"}, "VpcId needs SubnetIds: two private subnets"),
            ({"SubnetIds": "subnet-1,subnet-2"}, "SubnetIds needs VpcId, for a new Cromwell"),
            ({**EXISTING, "VpcId": "vpc-1"}, "VpcId is where a new Cromwell is made"),
            ({**EXISTING, "SubnetIds": "subnet-1"}, "SubnetIds needs SecurityGroupIds"),
            *(
                ({**way, parameter: "x"}, "CromwellCertificateParameter, CromwellTokenSecretArn")
                for way in (NEW, IN_A_VPC_THAT_EXISTS)
                for parameter in (
                    "CromwellCertificateParameter",
                    "CromwellTokenSecretArn",
                    "SecurityGroupIds",
                    "ScriptBucketName",
                    "JobQueueArns",
                )
            ),
            (
                {**MORE["without internet"], "InterfaceEndpoints": "false"},
                "NatGateways=none needs InterfaceEndpoints=true",
            ),
            (
                {"NatGateways": "none", "InterfaceEndpoints": "true"},
                "NatGateways=none needs JarUrl",
            ),
            ({"AwsCliUrl": "s3://a/b.zip"}, "AwsCliUrl needs AwsCliSha256"),
        ],
    )
    def test_is_said_in_a_sentence(self, parameters, said):
        [refusal] = template(**parameters).refusals()
        assert refusal.startswith(said)
        assert refusal.endswith(".")

    def test_by_a_nested_stack_is_refused_before_anything_is_made(self):
        known = document()["Parameters"]
        for name in NESTED:
            inside = stack(name.lower()).document["Parameters"]
            given = document()["Resources"][name]["Properties"]["Parameters"]
            for parameter, value in given.items():
                if parameter == "SecretKeyArns" or set(value) != {"Ref"}:
                    continue  # one key where several may be
                ours, theirs = known[value["Ref"]], inside[parameter]
                for what in ("Default", "AllowedValues", "AllowedPattern", "MinValue", "MaxValue"):
                    if what in theirs:
                        assert str(ours.get(what)) == str(theirs[what]), f"{parameter}: {what}"


def test_every_parameter_has_a_group_and_a_label():
    told = document()["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [one for group in told["ParameterGroups"] for one in group["Parameters"]]
    assert sorted(grouped) == sorted(document()["Parameters"])
    assert sorted(told["ParameterLabels"]) == sorted(document()["Parameters"])


def test_there_are_no_more_parameters_resources_and_outputs_than_cloudformation_takes():
    for told in (document(), *(stack(name.lower()).document for name in NESTED)):
        assert len(told["Parameters"]) <= 200
        assert len(told["Resources"]) <= 500
        assert len(told["Outputs"]) <= 200


def test_the_pipelines_own_roles_and_logs_are_as_the_account_asks():
    bound = deployed(**MORE["with keys, tags and names"])
    roles = bound.made_of_type("AWS::IAM::Role")
    assert len({role["RoleName"] for role in roles.values()}) == len(roles) == 3
    for role in roles.values():
        assert role["Path"] == "/batch/"
        assert role["PermissionsBoundary"] == "arn:aws:iam::123456789012:policy/bound"
        assert role["RoleName"].startswith("acme-dropwell-")
    for group in bound.made_of_type("AWS::Logs::LogGroup").values():
        assert group["KmsKeyId"] == f"{KEY}/logs"


def test_a_local_stack_leaves_out_what_makes_a_cromwell_and_nothing_else():
    local = {"Resources": dict(document()["Resources"])}
    leave_out_a_new_cromwell(local)
    assert set(document()["Resources"]) - set(local["Resources"]) == set(NESTED)


def test_the_command_may_make_what_the_ways_need():
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())
    settings.pop("version")
    for environment in settings.values():
        capabilities = environment.get("deploy", {}).get("parameters", {}).get("capabilities")
        assert capabilities in (None, "CAPABILITY_NAMED_IAM CAPABILITY_AUTO_EXPAND")
