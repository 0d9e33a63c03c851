"""The promises of the table, kept alike by the adapter and the simulation's twin; AWS's faults."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from dropwell.aws.tables import Table
from dropwell.errors import Superseded, TryAgain
from dropwell.records import ABSENT, NEW, Put, Update
from tests.functional import twins
from tests.functional.conftest import client

ONE, OTHER = ("p", "A#1"), ("p", "A#2")


@pytest.fixture(params=twins.KINDS)
def table(request):
    with mock_aws(config={"core": {"reset_boto3_session": False}}):
        yield twins.table(request.param)


def put(key, expect=None, **attributes):
    return Put({"pk": key[0], "sk": key[1], **attributes}, expect or {})


def told(item):
    """Return an item without what only the real table adds."""
    return item and {name: value for name, value in item.items() if name != "expires_at"}


class TestReading:
    def test_what_is_not_there_is_none(self, table):
        assert table.get(ONE) is None
        assert table.get_many([ONE, OTHER]) == {}
        assert list(table.query("p")) == []
        assert table.due("POLL", 9, 9) == []

    def test_an_item_comes_back_as_it_was_written(self, table):
        kept = {
            "text": "größe",
            "number": 7,
            "zero": 0,
            "yes": True,
            "none": None,
            "list": ["a", 1, {"b": 2}],
            "map": {"deep": {"er": [3]}},
            "empty": {"list": [], "text": ""},
        }
        table.write(put(ONE, **kept))
        assert told(table.get(ONE)) == {"pk": "p", "sk": "A#1", **kept}

    def test_many_are_read_at_once_each_once_and_those_that_exist(self, table):
        keys = [("p", f"A#{number:03d}") for number in range(230)]
        for key in keys[:220]:
            table.write(put(key, n=int(key[1][2:])))
        found = table.get_many([*keys, *keys[:50]])
        assert set(found) == set(keys[:220])
        assert found[keys[219]]["n"] == 219

    def test_only_some_attributes_may_be_asked_for(self, table):
        table.write(put(ONE, rank=3, status="RUNNING", name="long"))
        assert table.get_many([ONE], only=("rank", "status", "missing")) == {
            ONE: {"pk": "p", "sk": "A#1", "rank": 3, "status": "RUNNING"}
        }

    def test_a_partition_is_read_in_order(self, table):
        for sk in ("B#1", "A#2", "A#10", "A#1", "C"):
            table.write(put(("p", sk)))
        table.write(put(("q", "A#0")))
        assert [item["sk"] for item in table.query("p")] == ["A#1", "A#10", "A#2", "B#1", "C"]
        assert [item["sk"] for item in table.query("p", "A#")] == ["A#1", "A#10", "A#2"]
        assert [item["sk"] for item in table.query("p", "A#", newest_first=True)] == [
            "A#2",
            "A#10",
            "A#1",
        ]
        assert [item["sk"] for item in table.query("p", newest_first=True, limit=2)] == ["C", "B#1"]

    def test_what_is_due_comes_longest_first(self, table):
        for sk, due_at in (("A#1", 30), ("A#2", 10), ("A#3", 20), ("A#4", 41), ("A#5", 0)):
            table.write(put(("p", sk), due_kind="POLL", due_at=due_at))
        table.write(put(("p", "A#6"), due_kind="NOTICE", due_at=5), put(("p", "A#7"), due_at=5))
        assert [sk for _, sk in table.due("POLL", 40, 9)] == ["A#5", "A#2", "A#3", "A#1"]
        assert [sk for _, sk in table.due("POLL", 40, 2)] == ["A#5", "A#2"]

    def test_what_is_due_no_more_is_left_out(self, table):
        table.write(put(ONE, due_kind="NOTICE", due_at=5))
        table.write(Update(ONE, remove=("due_kind", "due_at")))
        assert table.due("NOTICE", 9, 9) == []


class TestWriting:
    def test_a_new_item_is_written_once(self, table):
        table.write(put(ONE, NEW, n=1))
        with pytest.raises(Superseded):
            table.write(put(ONE, NEW, n=2))
        assert table.get(ONE)["n"] == 1

    def test_a_put_leaves_nothing_of_what_stood_there(self, table):
        table.write(put(ONE, old=1))
        table.write(put(ONE, new=2))
        assert told(table.get(ONE)) == {"pk": "p", "sk": "A#1", "new": 2}

    @pytest.mark.parametrize("expect", [{"rev": 2}, {"rev": ABSENT}, {"other": 1}, NEW])
    def test_a_write_whose_expectation_does_not_hold_is_superseded(self, table, expect):
        table.write(put(ONE, rev=1))
        for write in (put(ONE, expect, rev=9), Update(ONE, set={"rev": 9}, expect=expect)):
            with pytest.raises(Superseded):
                table.write(write)
        assert table.get(ONE)["rev"] == 1

    @pytest.mark.parametrize("expect", [{"rev": 1}, {"other": ABSENT}, {"rev": 1, "x": ABSENT}])
    def test_a_write_whose_expectation_holds_is_made(self, table, expect):
        table.write(put(ONE, rev=1))
        table.write(put(ONE, expect, rev=2))
        assert table.get(ONE)["rev"] == 2

    def test_an_expectation_of_an_item_that_is_not_there_does_not_hold(self, table):
        with pytest.raises(Superseded):
            table.write(Update(ONE, set={"a": 1}, expect={"rev": 1}))
        assert table.get(ONE) is None

    def test_of_several_writes_all_are_made_or_none(self, table):
        table.write(put(ONE, rev=1))
        with pytest.raises(Superseded):
            table.write(put(OTHER, NEW, n=1), put(ONE, {"rev": 5}, rev=6))
        assert table.get(OTHER) is None
        table.write(put(OTHER, NEW, n=1), put(ONE, {"rev": 1}, rev=2))
        assert (table.get(OTHER)["n"], table.get(ONE)["rev"]) == (1, 2)

    def test_a_transaction_takes_a_hundred_writes(self, table):
        table.write(*(put(("p", f"A#{number}"), NEW) for number in range(100)))
        assert len(list(table.query("p"))) == 100

    def test_an_update_sets_adds_and_removes(self, table):
        table.write(put(ONE, a=1, b=2, c=3))
        table.write(Update(ONE, set={"a": 9}, add={"b": -5, "new": 4}, remove=("c", "never")))
        assert told(table.get(ONE)) == {"pk": "p", "sk": "A#1", "a": 9, "b": -3, "new": 4}

    def test_an_update_of_nothing_makes_an_item(self, table):
        table.write(Update(ONE, add={"count": 2}))
        assert told(table.get(ONE)) == {"pk": "p", "sk": "A#1", "count": 2}

    def test_a_word_that_the_table_keeps_for_itself_is_a_name_like_others(self, table):
        table.write(put(ONE, status="a", name="b", size=1))
        table.write(Update(ONE, set={"status": "c"}, add={"size": 1}, remove=("name",),
                           expect={"status": "a"}))  # fmt: skip
        assert told(table.get(ONE)) == {"pk": "p", "sk": "A#1", "status": "c", "size": 2}


class TestTheRealTable:
    @pytest.fixture
    def table(self):
        with mock_aws(config={"core": {"reset_boto3_session": False}}):
            yield twins.table(twins.KINDS[0])

    def test_lets_an_untouched_item_go_after_a_while(self, table):
        table.write(put(ONE))
        table.write(Update(OTHER, set={"a": 1}))
        for key in (ONE, OTHER):
            assert table.get(key)["expires_at"] == twins.NOW + twins.KEPT_FOR

    def test_that_is_not_there_is_no_matter_of_trying_again(self):
        with mock_aws(config={"core": {"reset_boto3_session": False}}):
            table = Table(client("dynamodb"), "nowhere", keep=1)
            with pytest.raises(ClientError):
                table.write(put(ONE))


class TestFaults:
    """What DynamoDB says under load, which moto never does."""

    @pytest.fixture
    def stubbed(self):
        dynamodb = boto3.client("dynamodb")
        with Stubber(dynamodb) as stub:
            yield Table(dynamodb, "table", keep=1), stub
            stub.assert_no_pending_responses()

    @pytest.mark.parametrize(
        ("reasons", "error"),
        [
            (["None", "ConditionalCheckFailed"], Superseded),
            (["TransactionConflict", "None"], Superseded),
            (["ThrottlingError", "ConditionalCheckFailed"], Superseded),
            (["ThrottlingError", "None"], TryAgain),
            (["ProvisionedThroughputExceeded", "None"], TryAgain),
        ],
    )
    def test_a_transaction_is_lost_or_comes_again(self, stubbed, reasons, error):
        table, stub = stubbed
        stub.add_client_error(
            "transact_write_items",
            service_error_code="TransactionCanceledException",
            modeled_fields={"CancellationReasons": [{"Code": code} for code in reasons]},
        )
        with pytest.raises(error) as caught:
            table.write(put(ONE), put(OTHER))
        assert type(caught.value) is error

    @pytest.mark.parametrize(
        "code", ["ConditionalCheckFailedException", "TransactionConflictException"]
    )
    def test_a_single_write_is_lost_to_another(self, stubbed, code):
        table, stub = stubbed
        stub.add_client_error("put_item", service_error_code=code)
        with pytest.raises(Superseded):
            table.write(put(ONE))

    @pytest.mark.parametrize(
        "code", ["ThrottlingException", "ProvisionedThroughputExceededException"]
    )
    def test_a_table_short_of_breath_is_written_to_another_time(self, stubbed, code):
        table, stub = stubbed
        stub.add_client_error("put_item", service_error_code=code)
        with pytest.raises(TryAgain, match=code):
            table.write(put(ONE))

    def test_keys_that_were_not_answered_are_asked_for_again(self, stubbed):
        table, stub = stubbed

        def wire(key, **more):
            return {"pk": {"S": key[0]}, "sk": {"S": key[1]}, **more}

        left = {"table": {"Keys": [wire(OTHER)]}}
        stub.add_response(
            "batch_get_item",
            {"Responses": {"table": [wire(ONE, n={"N": "1"})]}, "UnprocessedKeys": left},
        )
        stub.add_response(
            "batch_get_item",
            {"Responses": {"table": [wire(OTHER)]}, "UnprocessedKeys": {}},
            {"RequestItems": left},
        )
        assert set(table.get_many([ONE, OTHER])) == {ONE, OTHER}
