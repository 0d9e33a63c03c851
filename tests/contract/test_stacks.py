"""What every template of stacks/ keeps to, so that each can be deployed alone and many times."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.contract.test_cromwell_stack import GIVEN as CROMWELL
from tests.transformed import ROOT, STACKS, stack, told_to_observability

PAGE = re.split(r"^## ", (ROOT / "docs/deploy.md").read_text(), flags=re.MULTILINE)
NAMES = {
    "AWS::AutoScaling::AutoScalingGroup": "AutoScalingGroupName",
    "AWS::Batch::ComputeEnvironment": "ComputeEnvironmentName",
    "AWS::Batch::JobQueue": "JobQueueName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::EC2::LaunchTemplate": "LaunchTemplateName",
    "AWS::EC2::SecurityGroup": "GroupName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::RDS::DBCluster": "DBClusterIdentifier",
    "AWS::RDS::DBClusterParameterGroup": "DBClusterParameterGroupName",
    "AWS::RDS::DBInstance": "DBInstanceIdentifier",
    "AWS::RDS::DBParameterGroup": "DBParameterGroupName",
    "AWS::RDS::DBSubnetGroup": "DBSubnetGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SecretsManager::Secret": "Name",
}
PLACE = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2"}
GIVEN = {
    "core": PLACE,
    "cromwell": CROMWELL,
    "database": PLACE,
    "observability": told_to_observability(),
}

pytestmark = pytest.mark.parametrize("name", STACKS)


def told(name):
    """Return the part of the page that is headed by a stack's name."""
    [section] = [part for part in PAGE if part.lower().startswith(f"{name}\n")]
    return section


def made(name, **parameters):
    return stack(name, **(GIVEN.get(name, {}) | parameters))


def test_every_parameter_has_a_group_a_label_and_a_word_on_what_it_is(name):
    document = stack(name).document
    told = document["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [one for group in told["ParameterGroups"] for one in group["Parameters"]]
    assert sorted(grouped) == sorted(document["Parameters"])
    assert set(told["ParameterLabels"]) == set(document["Parameters"])
    assert [p for p, what in document["Parameters"].items() if not what.get("Description")] == []


def test_every_parameter_is_used(name):
    text = STACKS[name].read_text()
    unused = [
        p
        for p in stack(name).document["Parameters"]
        if not re.search(rf"!Ref {p}\b|\${{{p}}}", text)
    ]
    assert unused == []


def test_every_parameter_and_output_is_on_the_page(name):
    document = stack(name).document
    named = set(re.findall(r"`([A-Z][A-Za-z0-9]+)`", told(name)))
    assert {*document["Parameters"], *document["Outputs"]} - named == set()


def test_the_page_tells_defaults_as_they_are(name):
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", told(name), re.MULTILINE))
    for parameter, what in stack(name).document["Parameters"].items():
        assert rows.get(parameter, str(what.get("Default"))) == str(what.get("Default")), parameter


def test_nothing_has_a_name_that_a_second_stack_would_want(name):
    for logical, resource in made(name).made.items():
        if (attribute := NAMES.get(resource["Type"])) is not None:
            assert attribute not in made(name).properties(logical), logical


def test_it_can_be_deployed_as_it_stands_for_it_uses_no_alias(name):
    tokens = yaml.scan(STACKS[name].read_text())
    assert not [t for t in tokens if isinstance(t, (yaml.AliasToken, yaml.AnchorToken))]


def test_roles_take_the_path_the_boundary_and_the_prefix_that_the_account_asks_for(name):
    bound = made(
        name,
        FlowLogs="all",
        RolePath="/batch/",
        RoleNamePrefix="acme-",
        PermissionsBoundaryArn="arn:aws:iam::123456789012:policy/bound",
    )
    for role in bound.made_of_type("AWS::IAM::Role").values():
        assert role["Path"] == "/batch/"
        assert role["PermissionsBoundary"] == "arn:aws:iam::123456789012:policy/bound"
        assert role["RoleName"].startswith("acme-dropwell-")
    for profile in bound.made_of_type("AWS::IAM::InstanceProfile").values():
        assert profile["Path"] == "/batch/"


def test_log_groups_forget(name):
    groups = made(name, FlowLogs="all").made_of_type("AWS::Logs::LogGroup")
    assert [logical for logical, group in groups.items() if not group.get("RetentionInDays")] == []
