"""Alarms and dashboard against the pipeline that they watch, and the page that explains them."""

from __future__ import annotations

import json
import re

import pytest

from tests.transformed import ROOT, STACKS, stack, template, told_to_observability

OBSERVED = stack("observability", **told_to_observability())
PIPELINE = template(CromwellUrl="http://c")
ALARMS = OBSERVED.of_type("AWS::CloudWatch::Alarm")
[BOARD] = OBSERVED.of_type("AWS::CloudWatch::Dashboard").values()
WIDGETS = json.loads(BOARD["DashboardBody"])["widgets"]
PAGE = (ROOT / "docs/operations.md").read_text()

# What AWS sends of a resource, by the dimension that names it (CloudWatch pages of each service).
SENT_BY_AWS = {
    ("AWS/SQS", "QueueName"): {
        "ApproximateAgeOfOldestMessage",
        "ApproximateNumberOfMessagesVisible",
    },
    ("AWS/Lambda", "FunctionName"): {"Duration", "Errors", "IteratorAge", "Throttles"},
    ("AWS/DynamoDB", "TableName"): {"WriteThrottleEvents"},
    ("AWS/SNS", "TopicName"): {"NumberOfNotificationsFailed"},
}
KINDS = {
    "QueueName": "AWS::SQS::Queue",
    "FunctionName": "AWS::Lambda::Function",
    "TableName": "AWS::DynamoDB::Table",
    "TopicName": "AWS::SNS::Topic",
}
OWN = PIPELINE.environment("SubmitterFunction")


def alarmed():
    for alarm in ALARMS.values():
        of = [(one["Name"], one["Value"]) for one in alarm["Dimensions"]]
        yield alarm["Namespace"], alarm["MetricName"], of


def charted():
    for widget in WIDGETS:
        for namespace, name, *of, _ in widget["properties"].get("metrics", []):
            yield namespace, name, list(zip(of[::2], of[1::2], strict=True))


@pytest.mark.parametrize(("namespace", "name", "of"), [*alarmed(), *charted()])
def test_every_metric_is_of_something_that_the_pipeline_has(namespace, name, of):
    [(dimension, value)] = of
    if namespace == OWN["POWERTOOLS_METRICS_NAMESPACE"]:
        # Their names are held to what the functions send, by tests/functional.
        assert (dimension, value) == ("service", OWN["POWERTOOLS_SERVICE_NAME"])
        return
    assert name in SENT_BY_AWS[namespace, dimension]
    assert value in PIPELINE.of_type(KINDS[dimension])


def test_the_functions_count_under_the_name_of_their_stack():
    """Two installations in an account would count into one metric otherwise."""
    functions = PIPELINE.of_type("AWS::Lambda::Function")
    names = {PIPELINE.environment(name)["POWERTOOLS_SERVICE_NAME"] for name in functions}
    assert names == {PIPELINE.resolved({"Ref": "AWS::StackName"})}


def watched(metric):
    return {of[0][1] for _, name, of in alarmed() if name == metric}


def test_every_queue_has_an_alarm():
    queues = set(PIPELINE.of_type("AWS::SQS::Queue"))
    dead = {name for name in queues if name.endswith("DeadLetters")}
    assert watched("ApproximateNumberOfMessagesVisible") == dead
    assert watched("ApproximateAgeOfOldestMessage") == queues - dead


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_function_has_an_alarm(metric):
    assert watched(metric) == set(PIPELINE.of_type("AWS::Lambda::Function"))


def test_the_stack_is_told_all_by_the_outputs_of_the_pipeline():
    parameters = OBSERVED.document["Parameters"]
    untold = {name for name, what in parameters.items() if "Default" not in what}
    assert untold <= set(PIPELINE.outputs)
    for name, value in told_to_observability().items():
        assert re.fullmatch(parameters[name]["AllowedPattern"], value), name


def test_the_pipeline_makes_it_when_asked_and_tells_it_what_its_outputs_tell():
    asked = {"CromwellUrl": "http://c", "Alarms": "true", "AlarmMailTo": "ops@example.org"}
    assert "Observability" not in PIPELINE.made
    assert "Observability" in template(**asked).made
    nested = template(**asked).properties("Observability")
    outputs = {name: PIPELINE.outputs[name] for name in told_to_observability()}
    assert nested["Parameters"] == outputs | {"AlarmMailTo": "ops@example.org"}
    assert (ROOT / nested["TemplateURL"]) == STACKS["observability"]


def test_a_mail_address_without_alarms_is_refused():
    asked = template(CromwellUrl="http://c", AlarmMailTo="ops@example.org")
    assert asked.refusals() == ["AlarmMailTo needs Alarms=true: else there is nothing to hear of."]


def test_the_stack_is_small_enough_to_be_deployed_from_a_file():
    assert len(STACKS["observability"].read_bytes()) < 51_200


def plain(text):
    return re.sub(r"[`*]", "", text)


def rows(title):
    """Return the cells of the table below a heading."""
    [section] = [part for part in re.split(r"^## ", PAGE, flags=re.M) if part.startswith(title)]
    lines = re.findall(r"^\| (?!--)(.*) \|$", section, re.M)
    return [line.split(" | ") for line in lines][1:]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_to_do_and_where_there_is_more(name):
    words = ALARMS[name]["AlarmDescription"]
    assert len(words) <= 1024
    said, _, row = words.rstrip().removesuffix(".").rpartition(" More in docs/operations.md at: ")
    assert row in [plain(cells[0]) for cells in rows("When something is wrong")]
    verbs = ("Ask", "Bring", "Mend", "Read", "See", "says which queue")
    assert any(verb in said for verb in verbs), said


def when(alarm):
    """Return in words when an alarm goes off."""
    period, of = alarm["Period"] // 60, alarm["EvaluationPeriods"]
    span = f"{period} min" if period < 60 else f"{period // 60} h"
    times = alarm.get("DatapointsToAlarm", of)
    sign = {"GreaterThanThreshold": ">", "LessThanThreshold": "<"}[alarm["ComparisonOperator"]]
    spell = span if of == 1 else f"{times} of {of} times {span}"
    missing = ", or missing" if alarm["TreatMissingData"] == "breaching" else ""
    return (
        f"`{alarm['MetricName']}` {alarm['Statistic']} {sign} {alarm['Threshold']} in"
        f" {spell}{missing}"
    )


def test_the_page_lists_the_alarms_as_they_are():
    told = [
        [alarm["AlarmName"].removesuffix(" (dropwell)"), when(alarm)] for alarm in ALARMS.values()
    ]
    assert rows("Alarms") == told


def test_every_alarm_tells_the_topic_when_it_begins_and_when_it_is_over():
    own, given = OBSERVED, "arn:aws:sns:eu-west-1:123456789012:ops"
    elsewhere = stack("observability", **told_to_observability(), AlarmTopicArn=given)
    for told, topic in ((own, "AlarmTopic"), (elsewhere, given)):
        for alarm in told.of_type("AWS::CloudWatch::Alarm").values():
            assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
    assert elsewhere.made_of_type("AWS::SNS::Topic") == {}
    assert elsewhere.outputs["AlarmTopicArn"] == given


def test_the_topic_takes_alarms_of_this_account_alone_over_tls():
    [policy] = OBSERVED.of_type("AWS::SNS::TopicPolicy").values()
    speak, refuse = policy["PolicyDocument"]["Statement"]
    assert speak["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert speak["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}
    assert (refuse["Effect"], refuse["Condition"]) == (
        "Deny",
        {"Bool": {"aws:SecureTransport": "false"}},
    )


def test_a_mail_address_is_for_the_topic_that_is_made():
    told = told_to_observability()
    mailed = stack("observability", **told, AlarmMailTo="ops@example.org")
    [subscription] = mailed.made_of_type("AWS::SNS::Subscription").values()
    assert subscription["Endpoint"] == "ops@example.org"
    assert OBSERVED.made_of_type("AWS::SNS::Subscription") == {}
    both = stack("observability", **told, AlarmMailTo="a@b.c", AlarmTopicArn="arn:aws:sns:r:1:t")
    assert any("Subscribe to the topic" in refusal for refusal in both.refusals())


def test_the_dashboard_shows_every_alarm():
    [shown] = [w["properties"]["alarms"] for w in WIDGETS if w["type"] == "alarm"]
    assert shown == [f"{name}.Arn" for name in ALARMS]


def test_the_dashboard_has_no_holes_and_no_overlaps():
    taken = [
        (x, y)
        for widget in WIDGETS
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(taken) == len(set(taken))
    assert {x for x, _ in taken} == set(range(24))
    assert len(taken) == 24 * (max(y for _, y in taken) + 1)


def test_saved_queries_lie_together_under_the_name_of_the_stack():
    queries = OBSERVED.of_type("AWS::Logs::QueryDefinition").values()
    assert all(query["Name"].startswith("dropwell/") for query in queries)
    logs = set(PIPELINE.of_type("AWS::Logs::LogGroup"))
    assert {group for query in queries for group in query["LogGroupNames"]} == logs


def test_the_page_lists_the_saved_queries():
    queries = OBSERVED.of_type("AWS::Logs::QueryDefinition").values()
    names = [query["Name"].removeprefix("dropwell/") for query in queries]
    assert [name for name, _ in rows("Logs")] == names
