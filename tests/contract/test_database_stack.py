"""The database: who reaches it, what it takes and keeps, and who makes Cromwell's user."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys

import bootstrap_database
import pytest

from server.render import limits
from tests.transformed import ROOT, STACKS, stack

KEY = "arn:aws:kms:eu-west-1:123456789012:key/a"
GIVEN = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2"}


def database(**parameters):
    return stack("database", **(GIVEN | parameters))


def program(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"stacks/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestWhoReachesIt:
    def test_is_the_server_alone(self):
        [door] = database().properties("DatabaseSecurityGroup")["SecurityGroupIngress"]
        assert (door["FromPort"], door["ToPort"]) == (3306, 3306)
        assert door["SourceSecurityGroupId"] == "ClientSecurityGroup"
        assert database().outputs["ClientSecurityGroupId"] == "ClientSecurityGroup"

    def test_is_who_has_a_group_that_exists(self):
        template = database(ClientSecurityGroupId="sg-1")
        [door] = template.properties("DatabaseSecurityGroup")["SecurityGroupIngress"]
        assert door["SourceSecurityGroupId"] == "sg-1"
        assert not {"ClientSecurityGroup", "ClientEgress"} & set(template.made)
        assert template.outputs["ClientSecurityGroupId"] == "sg-1"

    def test_reaches_nothing_else_by_that_group(self):
        template = database()
        [nothing] = template.properties("ClientSecurityGroup")["SecurityGroupEgress"]
        assert nothing["CidrIp"] == "127.0.0.1/32"
        way = template.properties("ClientEgress")
        assert (way["DestinationSecurityGroupId"], way["ToPort"]) == ("DatabaseSecurityGroup", 3306)

    def test_is_nobody_from_outside_the_network(self):
        assert database().properties("Instance")["PubliclyAccessible"] is False
        assert database().properties("Subnets")["SubnetIds"] == ["subnet-1", "subnet-2"]

    @pytest.mark.parametrize(("asked", "expected"), [("true", "ON"), ("false", "OFF")])
    def test_comes_over_tls(self, asked, expected):
        parameters = database(RequireTls=asked).properties("ClusterParameters")["Parameters"]
        assert parameters["require_secure_transport"] == expected


class TestTheDatabase:
    def test_is_serverless_of_a_version_with_long_term_support(self):
        cluster, instance = database().properties("Cluster"), database().properties("Instance")
        assert cluster["Engine"] == instance["Engine"] == "aurora-mysql"
        assert cluster["EngineVersion"].startswith("8.0.mysql_aurora.3.10.")
        assert instance["DBInstanceClass"] == "db.serverless"
        assert instance["AutoMinorVersionUpgrade"] is False, "it would leave that version"

    def test_sleeps_while_no_server_is_connected(self):
        scaling = database().properties("Cluster")["ServerlessV2ScalingConfiguration"]
        assert scaling == {"MinCapacity": 0, "MaxCapacity": 4, "SecondsUntilAutoPause": 900}

    def test_never_sleeps_where_it_has_a_least_capacity(self):
        scaling = database(MinCapacity="0.5").properties("Cluster")
        assert scaling["ServerlessV2ScalingConfiguration"] == {
            "MinCapacity": "0.5",
            "MaxCapacity": 4,
        }

    @pytest.mark.parametrize(
        "mib", database().document["Parameters"]["BodyLimitMiB"]["AllowedValues"]
    )
    def test_takes_what_follows_from_the_servers_body_limit(self, mib):
        parameters = database(BodyLimitMiB=mib).properties("InstanceParameters")["Parameters"]
        assert parameters == {"max_allowed_packet": str(limits(mib)["max_allowed_packet"])}

    def test_keeps_text_of_any_language_as_the_bootstrap_does(self):
        parameters = database().properties("ClusterParameters")["Parameters"]
        assert parameters["character_set_server"] == "utf8mb4"


class TestWhatIsKept:
    def test_is_encrypted_backed_up_and_protected(self):
        cluster = database().properties("Cluster")
        assert cluster["StorageEncrypted"] is True
        assert cluster["BackupRetentionPeriod"] == 7
        assert cluster["DeletionProtection"] == "true"

    @pytest.mark.parametrize("policy", ["DeletionPolicy", "UpdateReplacePolicy"])
    def test_outlives_the_stack_as_a_snapshot(self, policy):
        assert database().resources["Cluster"][policy] == "Snapshot"

    def test_is_under_a_key_of_ones_own_with_both_secrets(self):
        template = database(DatabaseKeyArn=KEY)
        cluster = template.properties("Cluster")
        assert cluster["KmsKeyId"] == cluster["MasterUserSecret"]["KmsKeyId"] == KEY
        assert template.properties("UserSecret")["KmsKeyId"] == KEY

    def test_is_under_the_services_keys_else(self):
        cluster = database().properties("Cluster")
        assert not {"KmsKeyId", "MasterUserSecret"} & set(cluster)
        assert "KmsKeyId" not in database().properties("UserSecret")


class TestSecrets:
    def test_of_the_master_is_made_and_changed_by_rds(self):
        cluster = database().properties("Cluster")
        assert cluster["ManageMasterUserPassword"] is True
        assert "MasterUserPassword" not in cluster

    def test_of_cromwell_holds_nothing_that_anything_would_read_as_its_own(self):
        told = database(DatabaseUser="lab").properties("UserSecret")["GenerateSecretString"]
        assert told["ExcludePunctuation"] is True
        assert told["PasswordLength"] >= 32
        assert json.loads(told["SecretStringTemplate"]) == {"username": "lab"}
        assert told["GenerateStringKey"] == "password"

    def test_are_in_no_parameter_and_no_output(self):
        text = STACKS["database"].read_text()
        assert "NoEcho" not in text
        assert "resolve:secretsmanager" not in text


RIGHTS = {
    ("rds-data:ExecuteStatement",): {"Cluster.DBClusterArn"},
    ("secretsmanager:GetSecretValue",): {"Cluster.MasterUserSecret.SecretArn", "UserSecret"},
    ("logs:CreateLogStream", "logs:PutLogEvents"): {"UserFunctionLogs.Arn"},
}


class TestTheUser:
    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [({}, RIGHTS), ({"DatabaseKeyArn": KEY}, RIGHTS | {("kms:Decrypt",): {KEY}})],
        ids=["the services' keys", "a key of one's own"],
    )
    def test_is_made_by_a_function_that_may_do_this_and_nothing_else(self, parameters, expected):
        assert database(**parameters).rights("UserFunctionRole") == expected

    def test_is_made_with_a_key_that_only_opens_secrets(self):
        [statement] = [
            statement
            for statement in database(DatabaseKeyArn=KEY).statements("UserFunctionRole")
            if statement["Action"] == "kms:Decrypt"
        ]
        [service] = statement["Condition"]["StringEquals"].values()
        assert service.startswith("secretsmanager.eu-west-1.")

    def test_is_made_when_the_database_answers_and_anew_when_it_is_another(self):
        resource = database().resources["User"]
        assert resource["DependsOn"] == "Instance"
        one, other = (
            database(**given).properties("User")
            for given in ({}, {"DatabaseUser": "lab", "DatabaseName": "lab"})
        )
        assert {name for name in one if one[name] != other[name]} == {"Schema", "User"}

    def test_is_made_by_the_sql_of_the_servers_own_bootstrap(self):
        ours = program("database_user").statements("cromwell", "lab", "abc.DEF-123")
        theirs = bootstrap_database.statements("cromwell", "lab", "abc.DEF-123").splitlines()
        assert [f"{sql};" for sql in ours] == theirs[1:], "but for the session's mode of quoting"

    def test_is_made_by_a_program_that_the_template_carries_as_it_is(self):
        text = STACKS["database"].read_text()
        embed = program("embed")
        [user] = [p for p in embed.PROGRAMS if p.template == "database.yaml"]
        assert embed.embedded(user, text) == text, "run `make stacks`"
        code = database().properties("UserFunction")["Code"]["ZipFile"]
        assert code == (ROOT / "stacks/database_user.py").read_text()
        assert len(code) < 4096, "what CloudFormation takes within a template"

    def test_is_made_by_a_program_of_which_lambda_has_all_modules(self):
        tree = ast.parse((ROOT / "stacks/database_user.py").read_text())
        named = {
            name.partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in (
                [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
        }
        assert named - sys.stdlib_module_names == {"boto3", "botocore"}
