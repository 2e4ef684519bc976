"""Drives the simulated Odoo with odoo-json2 and OdooRPC, clients that know nothing of this project.

    odoo.py STATE.json        {"odoo": {"url": …, "database": …, "login": …, "key": …}}

Needs odoo-json2 (checked with 0.2) and OdooRPC (checked with 0.10). Settings of the simulator go through its /simulator
paths, which are no part of the real API. Ends with a non-zero status on the first thing the clients or the checks do not
find as the real server is known to be.
"""

import json
import sys
import urllib.parse
import urllib.request

import odoorpc
from odoo_json2.client import JSON2Client
from odoo_json2.exceptions import OdooAuthError, OdooNotFoundError, OdooServerException, OdooValidationError

LINE = "account.bank.statement.line"
COLUMNS = ["id", "journal_id/.id", "date", "payment_ref", "amount", "partner_name", "ref"]
CHECKS = 0


def check(found, expected, what):
    global CHECKS
    CHECKS += 1
    if found != expected:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")


def refused(kind, text, call):
    """The call must fail with this exception of the client's, and with this text in its message."""
    global CHECKS
    CHECKS += 1
    try:
        call()
    except kind as error:
        if text in str(error):
            return
        sys.exit(f"expected {text!r}, found {error}")
    sys.exit(f"expected {text!r}, but the call succeeded")


def simulator(url, path, body):
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/simulator/{path}", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def json2(state):
    client = JSON2Client(host=state["url"], api_key=state["key"], database=state["database"])
    check(client.version()["version"], "19.0", "the version")
    journals = client.search_read("account.journal", [["type", "=", "bank"]], ["name", "currency_id"])
    check(all(len(journal) == 3 for journal in journals), True, "journals with id, name and currency")
    journal = str(journals[0]["id"])

    rows = [[f"bankfeed.tx_c{at}", journal, "2026-11-28", f"row {at}", "-1.50", "Payee", f"r{at}"] for at in range(3)]
    made = client.call(LINE, "load", fields=COLUMNS, data=rows)
    check((len(made["ids"]), made["messages"]), (3, []), "rows are loaded")
    check(client.call(LINE, "load", fields=COLUMNS, data=rows)["ids"], made["ids"], "known ids are the same lines")
    names = client.call(LINE, "get_external_id", ids=made["ids"])
    check(names, {str(id): f"bankfeed.tx_c{at}" for at, id in enumerate(made["ids"])}, "external ids")
    found = client.search_read(LINE, [["ref", "in", ["r0", "r2"]]], ["ref", "amount"], order="id")
    check([(line["ref"], line["amount"]) for line in found], [("r0", -1.5), ("r2", -1.5)], "lines by reference")

    bad = [rows[0][:4] + ["abc", "", ""], ["bankfeed.tx_new", journal, "2026-11-28", "new", "1", "", ""]]
    answer = client.call(LINE, "load", fields=COLUMNS, data=bad)
    check((answer["ids"], answer["messages"][0]["field"]), (False, "amount"), "all rows or none")
    check(client.search_read(LINE, [["payment_ref", "=", "new"]], ["id"]), [], "nothing was taken")

    one = client.create(LINE, {"journal_id": int(journal), "date": "2026-11-30", "payment_ref": "x", "amount": 3})
    check(client.write(LINE, one, {"payment_ref": "y"}), True, "a line is changed")
    check(client.call(LINE, "read", ids=one, fields=["payment_ref"]), [{"id": one[0], "payment_ref": "y"}], "and read")
    check(client.unlink(LINE, one), True, "a line is deleted")
    check(client.call(LINE, "read", ids=one, fields=["payment_ref"]), [], "a line that is gone")
    refused(OdooNotFoundError, "Record does not exist", lambda: client.write(LINE, one, {"payment_ref": "z"}))
    refused(OdooNotFoundError, "the model 'no.such' does not exist", lambda: client.call("no.such", "search", domain=[]))
    refused(OdooServerException, "Invalid field 'nope'", lambda: client.create(LINE, {"nope": 1}))
    refused(OdooValidationError, "missing a required argument: 'vals'", lambda: client.call(LINE, "write", ids=one))
    stranger = JSON2Client(host=state["url"], api_key="0" * 40, database=state["database"])
    refused(OdooAuthError, "Invalid apikey", lambda: stranger.search_read("account.journal", []))
    elsewhere = JSON2Client(host=state["url"], api_key=state["key"], database="nope")
    refused(OdooNotFoundError, "", lambda: elsewhere.search_read("account.journal", []))


def rpc(state, version):
    simulator(state["url"], "state", {"version": version})
    address = urllib.parse.urlparse(state["url"])
    client = odoorpc.ODOO(address.hostname, protocol="jsonrpc", port=address.port)
    check(client.version, f"{version}.0", "the version")
    refused(odoorpc.error.RPCError, "", lambda: client.login(state["database"], state["login"], "nope"))
    client.login(state["database"], state["login"], state["key"])
    check(client.env.uid, 7, "the user")
    journal = client.execute("account.journal", "search", [["type", "=", "bank"]])[0]
    rows = [[f"bankfeed.tx_r{version}", str(journal), "2026-11-28", "rpc", "-2.50", "", ""]]
    made = client.execute(LINE, "load", COLUMNS, rows)["ids"]
    check(client.execute(LINE, "get_external_id", made), {str(made[0]): rows[0][0]}, "external ids")
    lines = client.env[LINE].browse(made)
    check([(line.payment_ref, line.amount) for line in lines], [("rpc", -2.5)], "a line as a record")
    client.env[LINE].write(made, {"payment_ref": "changed"})
    check(client.env[LINE].search_read([["id", "=", made[0]]], ["payment_ref"])[0]["payment_ref"], "changed", "a change")
    books = simulator(state["url"], "books", {"database": state["database"]})
    line = {**books["lines"][str(made[0])], "reconciled": True}
    simulator(state["url"], "lines", {"database": state["database"], "lines": [line]})
    refused(
        odoorpc.error.RPCError,
        "You can't delete a posted journal item",
        lambda: client.env[LINE].write(made, {"amount": 1}),
    )
    client.env[LINE].unlink(made)
    check(client.execute(LINE, "read", made, ["amount"]), [], "a line that is gone")


def main(path):
    with open(path, encoding="utf-8") as file:
        state = json.load(file)["odoo"]
    json2(state)
    for version in (18, 19):
        rpc(state, version)
    print(f"odoo: {CHECKS} checks by odoo-json2 and OdooRPC")


if __name__ == "__main__":
    main(*sys.argv[1:])
