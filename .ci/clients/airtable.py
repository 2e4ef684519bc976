"""Drives the simulated Airtable with pyairtable, a client that knows nothing of this project.

    airtable.py STATE.json        {"airtable": {"url": …, "token": …, "base": …}}

Needs pyairtable (checked with 3.5). The base must exist; the script makes tables of its own in it. Settings of the
simulator (limits, expired offsets) go through its /simulator paths, which are no part of the real API. Ends with a
non-zero status on the first thing the client or the checks do not find as the real service is known to be.
"""

import datetime
import json
import sys
import time
import urllib.request

import requests
from pyairtable import Api
from pyairtable.formulas import AND, OR, Field, match

CHECKS = 0


def check(found, expected, what):
    global CHECKS
    CHECKS += 1
    if found != expected:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")


def refused(status, kind, call, text=""):
    """The call must fail with this status and type, and with this text in its message."""
    global CHECKS
    CHECKS += 1
    try:
        call()
    except requests.HTTPError as error:
        body = error.response.json()
        if "errors" in body:
            found = body["errors"][0]["error"]
        else:
            found = body["error"] if isinstance(body["error"], str) else body["error"]["type"]
        if (error.response.status_code, found) == (status, kind) and text in error.response.text:
            return
        sys.exit(f"expected {status} {kind} {text}, found {error.response.status_code} {error.response.text}")
    sys.exit(f"expected {status} {kind}, but the call succeeded")


class Simulator:
    def __init__(self, url):
        self.url = url

    def post(self, path, body):
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/simulator/{path}", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def set(self, **settings):
        return self.post("settings", settings)


def schema(api, base):
    check(api.whoami()["id"].startswith("usr"), True, "whoami")
    check(base.id in [known.id for known in api.bases(force=True)], True, "the base is listed")
    fields = [
        {"name": "txid", "type": "singleLineText"},
        {"name": "Amount", "type": "currency", "options": {"precision": 2, "symbol": "€"}},
        {"name": "Date", "type": "date", "options": {"dateFormat": {"name": "iso"}}},
        {
            "name": "Time",
            "type": "dateTime",
            "options": {"timeZone": "Europe/Sofia", "dateFormat": {"name": "iso"}, "timeFormat": {"name": "24hour"}},
        },
        {"name": "Kind", "type": "singleSelect", "options": {"choices": [{"name": "fee"}, {"name": "card"}]}},
        {"name": "Tags", "type": "multipleSelects", "options": {"choices": []}},
        {"name": "Done", "type": "checkbox", "options": {"icon": "check", "color": "greenBright"}},
        {"name": "Note", "type": "multilineText"},
    ]
    name = f"Träns/actions {time.time_ns()}"
    table = base.create_table(name, fields, description="made by a check")
    told = table.schema(force=True)
    check([field.name for field in told.fields], [field["name"] for field in fields], "names of the fields")
    check([field.type for field in told.fields], [field["type"] for field in fields], "types of the fields")
    check(told.primary_field_id, told.fields[0].id, "the first field is the primary one")
    check(told.field("Amount").options.symbol, "€", "symbol of the currency")
    check(told.field("Date").options.date_format.format, "YYYY-MM-DD", "the format of a date is completed")
    check([choice.name for choice in told.field("Kind").options.choices], ["fee", "card"], "choices")
    made = table.create_field("Balance", "number", options={"precision": 2})
    check((made.name, made.type, made.options.precision), ("Balance", "number", 2), "a field made later")
    made.name, made.description = "Saldo", "after the entry"
    made.save()
    check(table.schema(force=True).field("Saldo").description, "after the entry", "a field renamed")
    refused(422, "DUPLICATE_TABLE_NAME", lambda: base.create_table(name.upper(), fields[:1]))
    refused(422, "INVALID_FIELD_TYPE_OPTIONS_FOR_CREATE", lambda: table.create_field("X", "number"))
    refused(422, "UNSUPPORTED_FIELD_TYPE_FOR_CREATE", lambda: table.create_field("X", "autoNumber"))
    return table


def writing(api, base, table):
    rows = [{"txid": f"t{n:03}", "Amount": n / 4, "Date": datetime.date(2026, 1, 5).isoformat()} for n in range(25)]
    made = table.batch_create(rows)
    check([row["fields"]["txid"] for row in made], [row["txid"] for row in rows], "created in order")
    check(made[0]["fields"]["Amount"], 0, "a zero is no empty cell")
    one = table.create({"txid": "one", "Done": False, "Note": "", "Time": "2026-01-05T09:00"}, typecast=True)
    check(one["fields"], {"txid": "one", "Time": "2026-01-05T07:00:00.000Z"}, "empty cells are absent")
    check(table.get(one["id"]), one, "a record by its id")
    changed = table.update(one["id"], {"Amount": -12.34, "Time": None})
    check(changed["fields"], {"txid": "one", "Amount": -12.34}, "update merges, null empties")
    replaced = table.update(one["id"], {"Note": "only this"}, replace=True)
    check(replaced["fields"], {"Note": "only this"}, "replace empties the rest")
    check(table.delete(one["id"]), {"id": one["id"], "deleted": True}, "delete")
    many = table.batch_update([{"id": row["id"], "fields": {"Amount": 1}} for row in made[:12]])
    check([row["fields"]["Amount"] for row in many], [1] * 12, "batch update")
    by_id = table.update(made[0]["id"], {"Amount": 2}, use_field_ids=True)
    ids = {field.name: field.id for field in table.schema().fields}
    check(by_id["fields"][ids["Amount"]], 2, "cells by id of the field")
    gone = table.batch_delete([row["id"] for row in made[20:]])
    check([row["deleted"] for row in gone], [True] * 5, "batch delete")
    cast = table.create({"txid": 7, "Amount": "€ 3.50", "Kind": "new", "Tags": "a, b", "Done": "checked"}, typecast=True)
    expected = {"txid": "7", "Amount": 3.5, "Kind": "new", "Tags": ["a", "b"], "Done": True}
    check(cast["fields"], expected, "typecast")
    table.delete(cast["id"])
    refused(422, "UNKNOWN_FIELD_NAME", lambda: table.create({"Vendor": "x"}), 'Unknown field name: \\"Vendor\\"')
    refused(422, "INVALID_VALUE_FOR_COLUMN", lambda: table.create({"Amount": "3"}), "cannot accept the provided value")
    refused(422, "INVALID_MULTIPLE_CHOICE_OPTIONS", lambda: table.create({"Kind": "other"}), "new select option")
    refused(422, "ROW_DOES_NOT_EXIST", lambda: table.batch_update([{"id": gone[0]["id"], "fields": {}}]))
    refused(404, "MODEL_ID_NOT_FOUND", lambda: table.get(gone[0]["id"]))
    refused(403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND", lambda: base.table("No such table").all())
    refused(404, "NOT_FOUND", lambda: api.table("junk", "T").all())
    return 20


def reading(simulator, table, count):
    pages = list(table.iterate(page_size=7))
    check([len(page) for page in pages], [7, 7, 6], "pages")
    check(len({row["id"] for page in pages for row in page}), count, "every row once")
    sorted_rows = table.all(sort=["-Amount", "txid"], fields=["txid"], max_records=3)
    check([row["fields"] for row in sorted_rows], [{"txid": "t019"}, {"txid": "t018"}, {"txid": "t017"}], "sort")
    check(table.first(formula=match({"txid": "t003"}))["fields"]["txid"], "t003", "formula from match()")
    either = table.all(formula=OR(Field("txid").eq("t003"), Field("txid").eq("t004")), view="Grid view")
    check([row["fields"]["txid"] for row in either], ["t003", "t004"], "OR")
    both = table.all(formula=AND(Field("txid").eq("t003"), Field("Amount").gt(5)))
    check(both, [], "AND")
    awkward = r"O'Neil \ {x} " + '"quoted"'
    row = table.create({"txid": awkward})
    check(table.first(formula=match({"txid": awkward}))["id"], row["id"], "a text that needs escapes")
    long = OR(*(Field("txid").eq(f"t{n:03} {'x' * 100}") for n in range(200)), Field("txid").eq(awkward))
    check([found["id"] for found in table.all(formula=str(long))], [row["id"]], "a list too long for an address")
    table.delete(row["id"])
    refused(422, "INVALID_FILTER_BY_FORMULA", lambda: table.all(formula="{txid}='a''b'"))
    refused(422, "UNKNOWN_FIELD_NAME", lambda: table.all(fields=["none"]))
    pages = table.iterate(page_size=7)
    next(pages)
    simulator.set(expireOffsets=True)
    refused(422, "LIST_RECORDS_ITERATOR_NOT_AVAILABLE", lambda: next(pages))


def upserting(table):
    rows = [{"fields": {"txid": "u1", "Amount": 1}}, {"fields": {"txid": "t000", "Amount": 9}}]
    done = table.batch_upsert(rows, key_fields=["txid"], typecast=True)
    check((len(done["createdRecords"]), len(done["updatedRecords"])), (1, 1), "one created, one updated")
    check([row["id"] for row in done["records"]], done["createdRecords"] + done["updatedRecords"], "request order")
    again = table.batch_upsert(rows, key_fields=["txid"])
    check(again["createdRecords"], [], "a repetition creates nothing")
    many = [{"fields": {"txid": f"u{n}", "Kind": "fee"}} for n in range(1, 24)]
    check(len(table.batch_upsert(many, key_fields=["txid"])["createdRecords"]), 22, "23 rows in three calls")
    # The client's own tests make these assertions about the live service.
    one = table.create({"txid": "One"})["id"]
    two = table.create({"txid": "Two"})["id"]
    patch = [
        {"id": one, "fields": {"Amount": 3}},
        {"fields": {"txid": "Two", "Amount": 4}},
        {"fields": {"txid": "Three", "Amount": 5}},
    ]
    done = table.batch_upsert(patch, key_fields=["txid"])
    check(done["updatedRecords"], [one, two], "updated")
    shown = [{"txid": "One", "Amount": 3}, {"txid": "Two", "Amount": 4}, {"txid": "Three", "Amount": 5}]
    check([row["fields"] for row in done["records"]], shown, "patch upsert")
    put = [
        {"id": one, "fields": {"Amount": 3}},
        {"fields": {"txid": "Two"}},
        {"fields": {"txid": "Three", "Amount": 6}},
        {"fields": {"txid": None, "Amount": 7}},
    ]
    done = table.batch_upsert(put, key_fields=["txid"], replace=True)
    shown = [{"Amount": 3}, {"txid": "Two"}, {"txid": "Three", "Amount": 6}, {"Amount": 7}]
    check([row["fields"] for row in done["records"]], shown, "put upsert")
    check(done["createdRecords"], [done["records"][3]["id"]], "an empty key creates")
    table.batch_create([{"txid": "double"}, {"txid": "double"}])
    double = [{"fields": {"txid": "fresh"}}, {"fields": {"txid": "double"}}]
    refused(422, "INVALID_REQUEST_UNKNOWN", lambda: table.batch_upsert(double, key_fields=["txid"]),
            "Cannot update more than one record")
    check(table.all(formula=match({"txid": "fresh"})), [], "a refused call writes nothing")
    refused(422, "INVALID_REQUEST_UNKNOWN", lambda: table.batch_upsert([{"fields": {"Time": "2026-01-05"}}],
                                                                       key_fields=["Time"]))


def limits(simulator, state, table):
    def client(token):
        return Api(token, endpoint_url=state["url"], retry_strategy=None).table(state["base"], table.id)

    strict = client(state["token"])
    simulator.set(perSecond=5, penaltySeconds=0.5)
    answers = []
    for _ in range(6):
        try:
            strict.first()
            answers.append(200)
        except requests.HTTPError as error:
            answers.append(error.response.status_code)
    # A machine so slow that six calls take more than a second cannot prove the limit.
    check(answers in ([200] * 5 + [429], [200] * 6), True, f"five calls a second, found {answers}")
    if answers[-1] == 429:
        refused(429, "RATE_LIMIT_REACHED", strict.first)
        time.sleep(0.6)
        strict.first()
    simulator.set(perSecond=None, monthlyCalls=0)
    refused(429, "PUBLIC_API_BILLING_LIMIT_EXCEEDED", strict.first)
    check(Api(state["token"], endpoint_url=state["url"]).whoami()["id"].startswith("usr"), True, "meta goes on")
    simulator.set(monthlyCalls=None, recordCap=1)
    refused(422, "RECORD_LIMIT_EXCEEDED", lambda: strict.create({"txid": "too many"}))
    simulator.set(recordCap=None)
    refused(401, "AUTHENTICATION_REQUIRED", lambda: client("patWrong.simulated").first())
    reader = simulator.post("tokens", {"scopes": ["data.records:read"]})["token"]
    client(reader).first()
    refused(403, "INVALID_PERMISSIONS_OR_MODEL_NOT_FOUND", lambda: client(reader).create({"txid": "x"}))
    viewer = simulator.post("tokens", {"role": "read"})["token"]
    refused(403, "INVALID_PERMISSIONS", lambda: client(viewer).create({"txid": "x"}))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        state = json.load(file)["airtable"]
    simulator = Simulator(state["url"])
    before = simulator.set(perSecond=None, monthlyCalls=None, recordCap=None)
    try:
        drive(simulator, state)
    finally:
        simulator.set(**before)
    print(f"pyairtable: {CHECKS} checks passed")


def drive(simulator, state):
    api = Api(state["token"], endpoint_url=state["url"])
    base = api.base(state["base"])
    table = schema(api, base)
    count = writing(api, base, table)
    reading(simulator, table, count)
    upserting(table)
    limits(simulator, state, table)


if __name__ == "__main__":
    main()
