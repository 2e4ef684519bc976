"""Drives the simulated SimpleFIN service with two clients that know nothing of this project.

    simplefin_clients.py STATE.json        {"simplefin": {"url": …, "token": …, "access_url": …}}

Needs simplefin (checked with 0.2.0) and simplefin4py (0.0.18), which both speak version 1 of the protocol. Settings of
the simulator go through its /simulator paths, which are no part of the protocol. With BANKFEED_RECORDINGS set, the keys
and types of recorded answers are compared with the simulator's. Ends with a non-zero status on the first thing that is
not as the real service is known to be.
"""

import asyncio
import datetime
import json
import logging
import os
import pathlib
import sys
import urllib.parse

import httpx
import simplefin4py
from simplefin import SimpleFINClient
from simplefin4py import exceptions

CHECKS = 0

# simplefin4py turns on the debug messages of every library.
logging.disable(logging.CRITICAL)


def check(found, expected, what):
    global CHECKS
    CHECKS += 1
    if found != expected:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")


def settings(url, **changes):
    httpx.post(f"{url}/simulator/settings", json=changes).raise_for_status()


def token(url):
    return httpx.post(f"{url}/simulator/tokens").json()["token"]


def by_simplefin(url):
    setup = token(url)
    access = SimpleFINClient.get_access_url(setup)
    try:
        SimpleFINClient.get_access_url(setup)
        sys.exit("a setup token was claimed twice")
    except Exception as refusal:
        check(str(refusal), "Invalid setup token", "the second claim")
    client = SimpleFINClient(access)
    check(client.get_info(), {"versions": ["1.0"]}, "the versions")
    accounts = client.get_accounts()
    check(len(accounts), 3, "the number of accounts")
    check([account["transactions"] for account in accounts], [[], [], []], "balances alone have no rows")
    one = client.get_account(accounts[0]["id"])
    check((one["name"], one["org"]["name"]), ("Checking (0001)", "Example Bank - Alex"), "an account by its id")
    check(client.get_account("Nowhere at all"), None, "an account that is not there")
    start = datetime.date.today() - datetime.timedelta(days=40)
    rows = client.get_transactions(accounts[0]["id"], start)
    check(all(row["posted"].date() >= start for row in rows), True, "rows begin at the start date")
    check(len(rows) > 15, True, "the number of rows")
    return access


async def by_simplefin4py(url, access):
    claimed = await simplefin4py.SimpleFin.claim_setup_token(token(url))
    check(claimed.strip(), access.strip(), "the access URL")
    client = simplefin4py.SimpleFin(access)
    # The client hands its credentials over as a text, which its own HTTP library refuses; the address holds them as well.
    client.auth = None
    data = await client.fetch_data()
    check(len(data.accounts), 3, "the accounts")
    check(data.accounts[0].currency, "USD", "the currency")
    settings(url, complaints=[{"words": "Connection to Savings Union may need attention"}])
    data = await client.fetch_data()
    check([account.name for account in data.accounts_with_errors], ["Savings"], "the account in trouble")
    settings(url, complaints=[], unpaid=True)
    await refused(client, exceptions.SimpleFinPaymentRequiredError)
    settings(url, unpaid=False, revoked=True)
    await refused(client, exceptions.SimpleFinAuthError)
    settings(url, revoked=False)


async def refused(client, kind):
    global CHECKS
    CHECKS += 1
    try:
        await client.fetch_data()
    except kind:
        return
    sys.exit(f"expected {kind.__name__}, but the call succeeded")


def bare(value):
    """The types of a value, without what is in it."""
    return type(value).__name__


def compare(recorded, simulated, place):
    """Every key that both have must have the same type; the parts of an account must be there."""
    if isinstance(recorded, dict) and isinstance(simulated, dict):
        missing = set(recorded) - set(simulated) - {"holdings", "extra", "available-balance", "mcc", "org", "errors"}
        check(missing & {"id", "name", "currency", "balance", "balance-date", "posted", "amount", "description"}, set(), place)
        for key in set(recorded) & set(simulated):
            if recorded[key] is not None and simulated[key] is not None:
                compare(recorded[key], simulated[key], f"{place}.{key}")
    elif isinstance(recorded, list) and isinstance(simulated, list):
        if recorded and simulated:
            compare(recorded[0], simulated[0], f"{place}[0]")
    else:
        check(bare(simulated), bare(recorded), place)


def replay(url, access):
    folder = os.environ.get("BANKFEED_RECORDINGS")
    if not folder:
        print("  recordings skipped: BANKFEED_RECORDINGS is not set")
        return
    credentials = urllib.parse.urlsplit(access.strip())
    auth = (credentials.username, credentials.password)
    for path in sorted(pathlib.Path(folder, "simplefin").glob("*.json")):
        recording = json.loads(path.read_text())
        if path.name == "INDEX.json" or recording["request"]["method"] != "GET":
            continue
        settings(url, unpaid=False, revoked=False, complaints=[])
        response, query = recording["response"], dict(recording["request"]["query"])
        settings(url, unpaid=response["status"] == 402, revoked=response["status"] == 403)
        if isinstance(response["body"], dict):
            coded = [
                {"code": said["code"], "words": said.get("msg", said.get("message"))}
                for said in response["body"].get("errlist", [])
            ]
            settings(url, complaints=coded or [{"words": said} for said in response["body"].get("errors", [])])
        for key in ("account", "start-date"):
            query.pop(key, None)
        found = httpx.get(f"{url}/simplefin{recording['request']['path']}", params=query, auth=auth)
        check(found.status_code, response["status"], f"{path.stem}: the status")
        if isinstance(response["body"], dict):
            compare(response["body"], found.json(), path.stem)
        else:
            check("Access denied" in found.text and "<html" in found.text, True, f"{path.stem}: the page")
    settings(url, unpaid=False, revoked=False, complaints=[])


def main(addresses):
    url = json.loads(pathlib.Path(addresses).read_text())["simplefin"]["url"]
    access = by_simplefin(url)
    asyncio.run(by_simplefin4py(url, access))
    replay(url, access)
    print(f"simplefin: {CHECKS} checks passed")


if __name__ == "__main__":
    main(sys.argv[1])
