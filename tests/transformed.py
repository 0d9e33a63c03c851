"""Templates as CloudFormation gets them: transformed by SAM, offline, their functions resolved."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "template.yaml"
STACKS = {path.stem: path for path in sorted((ROOT / "stacks").glob("*.yaml"))}

_LOCAL_CODE = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
}
_PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Region": "eu-west-1",
    "AWS::Partition": "aws",
    "AWS::StackName": "dropwell",
    "AWS::StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/dropwell/1",
}
_ZONES = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
_NOTHING = object()

Json = Any


class _NoManagedPolicies:
    """SAM asks IAM only for policies that the template names; ours names none."""

    def load(self) -> dict[str, str]:
        return {}

    def get_managed_policy(self, name: str) -> None:
        return None


@dataclass(frozen=True)
class Template:
    """A template of CloudFormation's own functions, with what its references stand for.

    Parameters
    ----------
    parameters : mapping
        Values given to the stack's parameters; the others have their defaults.
    names : mapping
        What ``Ref Logical`` and ``GetAtt Logical.Arn`` give; the logical name and
        ``Logical.Arn`` themselves where it is not told.
    """

    document: Mapping[str, Json]
    parameters: Mapping[str, Json] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def resources(self) -> Mapping[str, Mapping[str, Json]]:
        return self.document["Resources"]

    @property
    def made(self) -> dict[str, Mapping[str, Json]]:
        """The resources whose condition holds."""
        return {
            name: resource
            for name, resource in self.resources.items()
            if "Condition" not in resource or self.holds(resource["Condition"])
        }

    @property
    def outputs(self) -> dict[str, Json]:
        """The values of the outputs whose condition holds."""
        return {
            name: self.resolved(output["Value"])
            for name, output in self.document["Outputs"].items()
            if "Condition" not in output or self.holds(output["Condition"])
        }

    def of_type(self, kind: str) -> dict[str, Mapping[str, Json]]:
        """Return the resolved properties of all resources of a type, by logical name."""
        return {
            name: self.resolved(resource.get("Properties", {}))
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def made_of_type(self, kind: str) -> dict[str, Mapping[str, Json]]:
        """Return likewise those whose condition holds."""
        return {name: self.properties(name) for name, r in self.made.items() if r["Type"] == kind}

    def refusals(self) -> list[str]:
        """Return what the template's Rules say against these parameters."""
        return [
            " ".join(assertion["AssertDescription"].split())
            for rule in self.document.get("Rules", {}).values()
            if "RuleCondition" not in rule or self._truth(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self._truth(assertion["Assert"])
        ]

    def properties(self, name: str) -> Mapping[str, Json]:
        return self.resolved(self.resources[name]["Properties"])

    def environment(self, function: str) -> dict[str, str]:
        """Return the variables that a function runs with."""
        variables = self.properties(function)["Environment"]["Variables"]
        return {name: str(value) for name, value in variables.items()}

    def resolved(self, value: Json) -> Json:
        """Return a value with its references and functions worked out."""
        if isinstance(value, list):
            return [one for item in value if (one := self.resolved(item)) is not _NOTHING]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name, argument)
        fields = {name: self.resolved(item) for name, item in value.items()}
        return {name: item for name, item in fields.items() if item is not _NOTHING}

    def _function(self, name: str, argument: Json) -> Json:
        match name:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                dotted = argument if isinstance(argument, str) else ".".join(argument)
                return self.names.get(dotted, dotted)
            case "Fn::If":
                condition, yes, no = argument
                return self.resolved(yes if self.holds(condition) else no)
            case "Fn::Join":
                return argument[0].join(map(str, self.resolved(argument[1])))
            case "Fn::Split":
                return str(self.resolved(argument[1])).split(argument[0])
            case "Fn::Sub":
                return self._sub(argument)
            case "Fn::Select":
                index, values = map(self.resolved, argument)
                return values[int(index)]
            case "Fn::FindInMap":
                name, key, entry = map(self.resolved, argument)
                return self.document["Mappings"][name][str(key)][entry]
            case "Fn::GetAZs":
                return _ZONES
            case "Fn::Cidr":
                block, count, bits = map(self.resolved, argument)
                subnets = ipaddress.ip_network(block).subnets(new_prefix=32 - int(bits))
                return list(map(str, itertools.islice(subnets, int(count))))
            case "Fn::Base64":
                return self.resolved(argument)  # to be read
        raise NotImplementedError(name)

    def _ref(self, name: str) -> Json:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name not in self.document["Parameters"]:
            return self.names.get(name, name)
        parameter = self.document["Parameters"][name]
        value = self.parameters.get(name, parameter.get("Default"))
        if "List" in parameter["Type"]:
            return str(value).split(",")
        return value

    def _sub(self, argument: Json) -> str:
        text, names = (argument, {}) if isinstance(argument, str) else argument

        def told(match: re.Match[str]) -> str:
            name = match[1]
            if name in names:
                return str(self.resolved(names[name]))
            return str(self._function("Fn::GetAtt" if "." in name else "Ref", name))

        return re.sub(r"\$\{([^}]+)\}", told, text)

    def holds(self, condition: str) -> bool:
        return self._truth(self.document["Conditions"][condition])

    def _truth(self, value: Mapping[str, Json]) -> bool:
        ((name, argument),) = value.items()
        match name:
            case "Condition":
                return self.holds(argument)
            case "Fn::And":
                return all(map(self._truth, argument))
            case "Fn::Or":
                return any(map(self._truth, argument))
            case "Fn::Not":
                return not self._truth(argument[0])
            case "Fn::Equals":
                one, other = map(self.resolved, argument)
                return str(one) == str(other)
        raise NotImplementedError(name)

    def statements(self, role: str) -> Iterator[Mapping[str, Json]]:
        """Yield the statements of a role's own policies, and of those that are put on it."""
        for policy in self.properties(role).get("Policies", []):
            yield from policy["PolicyDocument"]["Statement"]
        for policy in self.made_of_type("AWS::IAM::Policy").values():
            if role in policy["Roles"]:
                yield from policy["PolicyDocument"]["Statement"]

    def rights(self, role: str) -> dict[tuple[str, ...], set[str]]:
        """Return what a role may do to what; it may not deny anything."""
        found: dict[tuple[str, ...], set[str]] = {}
        for statement in self.statements(role):
            assert statement["Effect"] == "Allow"
            actions = tuple(sorted(_listed(statement["Action"])))
            found.setdefault(actions, set()).update(_listed(statement["Resource"]))
        return found


def _listed(value: Json) -> list[str]:
    return value if isinstance(value, list) else [value]


def _transformed(source: Any) -> Mapping[str, Json]:
    for resource in source["Resources"].values():
        if attribute := _LOCAL_CODE.get(resource["Type"]):
            resource["Properties"][attribute] = "s3://bucket/key"
    parameters = {
        name: parameter["Default"]
        for name, parameter in source["Parameters"].items()
        if "Default" in parameter
    }
    return transform(source, parameters | {"CromwellUrl": "http://x"}, _NoManagedPolicies())


@cache
def document() -> Mapping[str, Json]:
    return _transformed(yaml_parse(TEMPLATE.read_text()))


def template(names: Mapping[str, str] | None = None, **parameters: str) -> Template:
    """Return our template as a stack of these parameters has it."""
    return Template(document(), parameters, names or {})


@cache
def _source(path: Path) -> Mapping[str, Json]:
    source = yaml_parse(path.read_text())
    return _transformed(source) if "Transform" in source else source


def stack(
    name: str, /, names: Mapping[str, str] | None = None, **parameters: str | int
) -> Template:
    """Return a template of ``stacks/`` as a stack of these parameters has it."""
    return Template(_source(STACKS[name]), parameters, names or {})


@cache
def told_to_observability() -> Mapping[str, str]:
    """Return what the outputs of our template tell the parameters of ``observability.yaml``."""
    queues = template().of_type("AWS::SQS::Queue")
    names = {queue: f"https://sqs.eu-west-1.amazonaws.com/123456789012/{queue}" for queue in queues}
    names["MailTopic"] = "arn:aws:sns:eu-west-1:123456789012:MailTopic"
    outputs = template(names, CromwellUrl="http://x").outputs
    wanted = stack("observability").document["Parameters"]
    return {name: value for name, value in outputs.items() if name in wanted}
