"""The network: where its subnets lie, what each can reach, and what is refused."""

from __future__ import annotations

import ipaddress
import itertools

import pytest

from tests.transformed import stack
from tests.transformed import template as pipeline

GATEWAYS = {"none": {}, "one": dict.fromkeys("ABC", "A"), "per-zone": {z: z for z in "ABC"}}


def network(**parameters):
    return stack("network", **parameters)


def subnets(template, kind):
    return {
        name.removeprefix(f"{kind}Subnet"): subnet
        for name, subnet in template.made_of_type("AWS::EC2::Subnet").items()
        if name.startswith(kind)
    }


class TestSubnets:
    @pytest.mark.parametrize(("zones", "expected"), [(2, "AB"), (3, "ABC")])
    @pytest.mark.parametrize("kind", ["Public", "Private"])
    def test_are_one_in_each_zone(self, kind, zones, expected):
        found = subnets(network(Zones=zones), kind)
        assert "".join(found) == expected
        assert len({subnet["AvailabilityZone"] for subnet in found.values()}) == zones

    @pytest.mark.parametrize(
        ("vpc", "bits"), [("10.0.0.0/16", 13), ("10.20.16.0/20", 9), ("192.168.7.0/24", 5)]
    )
    def test_lie_in_the_vpc_and_not_in_each_other(self, vpc, bits):
        template = network(VpcCidr=vpc, SubnetBits=bits)
        blocks = [
            ipaddress.ip_network(subnet["CidrBlock"])
            for subnet in template.of_type("AWS::EC2::Subnet").values()
        ]
        assert len(blocks) == 6
        assert all(block.subnet_of(ipaddress.ip_network(vpc)) for block in blocks)
        assert not any(one.overlaps(other) for one, other in itertools.combinations(blocks, 2))

    def test_that_are_private_give_no_public_address(self):
        template = network(PublicAddresses="true")
        assert all(s["MapPublicIpOnLaunch"] == "true" for s in subnets(template, "Public").values())
        assert not any("MapPublicIpOnLaunch" in s for s in subnets(template, "Private").values())

    def test_that_are_public_give_none_either_unless_asked(self):
        found = subnets(network(), "Public").values()
        assert all(subnet["MapPublicIpOnLaunch"] == "false" for subnet in found)

    @pytest.mark.parametrize("zones", [2, 3])
    def test_are_told_by_zone(self, zones):
        outputs = network(Zones=zones).outputs
        for kind in ("Private", "Public"):
            told = outputs[f"{kind}SubnetIds"].split(",")
            assert told == [f"{kind}Subnet{zone}" for zone in "ABC"[:zones]]


class TestRoutes:
    @pytest.mark.parametrize("zones", [2, 3])
    @pytest.mark.parametrize("gateways", GATEWAYS)
    def test_out_of_private_subnets_lead_to_the_gateway_that_was_chosen(self, gateways, zones):
        template = network(NatGateways=gateways, Zones=zones)
        routes = {
            route["RouteTableId"]: route["NatGatewayId"]
            for route in template.made_of_type("AWS::EC2::Route").values()
            if "NatGatewayId" in route
        }
        used = {zone: GATEWAYS[gateways][zone] for zone in "ABC"[:zones] if GATEWAYS[gateways]}
        assert routes == {f"PrivateRoutes{z}": f"NatGateway{nat}" for z, nat in used.items()}
        made = template.made_of_type("AWS::EC2::NatGateway")
        assert set(made) == set(routes.values()), "none is paid for and not used"
        for name, gateway in made.items():
            assert gateway["SubnetId"] == f"PublicSubnet{name[-1]}"

    def test_out_of_public_subnets_lead_to_the_internet(self):
        template = network()
        assert template.properties("PublicRouteOut")["GatewayId"] == "InternetGateway"
        for zone in "ABC":
            association = template.properties(f"PublicSubnet{zone}Routes")
            assert association["RouteTableId"] == "PublicRoutes"

    def test_out_of_private_subnets_never_lead_to_the_internet(self):
        for route in network().of_type("AWS::EC2::Route").values():
            assert "GatewayId" not in route or route["RouteTableId"] == "PublicRoutes"

    @pytest.mark.parametrize("zones", [2, 3])
    def test_to_s3_and_dynamodb_are_in_every_table(self, zones):
        template = network(Zones=zones)
        tables = set(template.made_of_type("AWS::EC2::RouteTable"))
        for endpoint in ("S3Endpoint", "DynamoDbEndpoint"):
            assert set(template.properties(endpoint)["RouteTableIds"]) == tables
            assert template.properties(endpoint)["VpcEndpointType"] == "Gateway"


# Endpoint services are mostly named as IAM names the service; these are not.
ENDPOINTS = {"ecr": "ecr.api", "cloudwatch": "monitoring"}


def services(role, template):
    """Return the endpoint services of all that a role may do."""
    actions = {action for allowed in template.rights(role) for action in allowed}
    return {ENDPOINTS.get(name, name) for name in (action.split(":")[0] for action in actions)}


class TestInterfaceEndpoints:
    def test_reach_every_service_that_a_function_in_the_vpc_may_use(self):
        functions = pipeline(
            CromwellUrl="https://c",
            BucketKeyArns="arn:key",
            CromwellCertificateParameter="/c",
            CromwellTokenSecretArn="arn:secret",
        )
        named = {
            endpoint["ServiceName"].removeprefix("com.amazonaws.eu-west-1.")
            for endpoint in network().of_type("AWS::EC2::VPCEndpoint").values()
        }
        for role in ("SubmitterRole", "StatusWatcherRole"):
            assert services(role, functions) <= named

    def test_are_made_only_when_asked(self):
        kinds = [
            e["VpcEndpointType"] for e in network().made_of_type("AWS::EC2::VPCEndpoint").values()
        ]
        assert kinds == ["Gateway", "Gateway"]

    def test_answer_under_the_names_that_sdks_use_in_every_zone(self):
        template = network(InterfaceEndpoints="true", Zones=2)
        for endpoint in template.made_of_type("AWS::EC2::VPCEndpoint").values():
            if endpoint["VpcEndpointType"] == "Interface":
                assert endpoint["PrivateDnsEnabled"] is True
                assert endpoint["SubnetIds"] == ["PrivateSubnetA", "PrivateSubnetB"]

    def test_take_https_from_the_vpc_alone(self):
        group = network(VpcCidr="10.9.0.0/16").properties("EndpointSecurityGroup")
        [rule] = group["SecurityGroupIngress"]
        assert (rule["CidrIp"], rule["FromPort"], rule["ToPort"]) == ("10.9.0.0/16", 443, 443)


class TestWhatIsRefused:
    def test_is_a_network_out_of_which_nothing_leads(self):
        [said] = network(NatGateways="none").refusals()
        assert said.startswith("Without NAT gateways, nothing in the private subnets reaches")

    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"NatGateways": "per-zone"},
            {"NatGateways": "none", "InterfaceEndpoints": "true"},
            {"NatGateways": "none", "PublicAddresses": "true"},
        ],
    )
    def test_is_none_of_these(self, parameters):
        assert network(**parameters).refusals() == []


class TestFlowLogs:
    def test_are_off_unless_asked(self):
        assert not {name for name in network().made if name.startswith("FlowLog")}

    @pytest.mark.parametrize(("asked", "kind"), [("reject", "REJECT"), ("all", "ALL")])
    def test_record_what_was_asked(self, asked, kind):
        assert network(FlowLogs=asked).properties("FlowLog")["TrafficType"] == kind

    def test_are_written_by_a_role_that_can_do_nothing_else(self):
        template = network(FlowLogs="all")
        assert template.rights("FlowLogRole") == {
            ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"): {
                "FlowLogGroup.Arn"
            },
            ("logs:DescribeLogGroups",): {"*"},
        }
        [trust] = template.properties("FlowLogRole")["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "vpc-flow-logs.amazonaws.com"}
        assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
