"""The stacks on the emulator, as far as it goes: what it makes, and the list of what it cannot."""

from __future__ import annotations

import re

import boto3
import pytest
from botocore.exceptions import ClientError

from dropwell_local.emulator import CREDENTIALS, REGION, running_emulator
from tests.transformed import ROOT, STACKS

EMULATOR = ROOT / ".tools/emulator/bin/python"


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    with running_emulator(python=EMULATOR, folder=tmp_path_factory.mktemp("aws")) as url:

        def client(service):
            return boto3.client(
                service,
                endpoint_url=url,
                region_name=REGION,
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            )

        yield client


@pytest.fixture
def deploy(aws):
    """Return what deploys a template and gives its outputs."""
    formation = aws("cloudformation")

    def deployed(stack, name, /, **parameters):
        formation.create_stack(
            StackName=name,
            TemplateBody=STACKS[stack].read_text(),
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


def refused(deploy, stack, **parameters):
    """Return the types that the emulator does not know."""
    with pytest.raises(ClientError) as error:
        deploy(stack, "refused", **parameters)
    [named] = re.findall(r"Unrecognized resource types: \[(.*)\]", str(error.value))
    return named.split(", ")


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
