"""Drives the simulated Enable Banking with enablebanking-sdk, a client that knows nothing of this project.

    enable_banking.py STATE.json        {"enable-banking": {"url": …, "application": …, "private_key": …, "redirect_url": …}}

Needs enablebanking-sdk (checked with 0.1.7), whose models are strict about types. Ends with a non-zero status on the first
thing the client or the checks do not find as the real service is known to be.
"""

import datetime
import json
import pathlib
import sys
from urllib.parse import parse_qs, urlsplit

import requests
from enablebanking_sdk.constants import PSUType
from enablebanking_sdk.exceptions import EnableBankingException
from enablebanking_sdk.service import EnableBankingIntegration, EnableBankingService

CHECKS = 0


def check(found, expected, what):
    global CHECKS
    CHECKS += 1
    if found != expected:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")


def refused(status, code, call):
    """The call must fail with this status, and this code in the body."""
    global CHECKS
    CHECKS += 1
    try:
        call()
    except EnableBankingException as error:
        found = (error.response.status_code, error.response.json().get("error"))
        if found == (status, code):
            return
        sys.exit(f"expected {status} {code}, found {found}")
    sys.exit(f"expected {status} {code}, but the call succeeded")


def service(place, **changes):
    settings = {"base_url": place["url"], "app_id": place["application"], "certificate": place["private_key"]}
    return EnableBankingService(integration=EnableBankingIntegration(**{**settings, **changes}))


def main(path):
    place = json.loads(pathlib.Path(path).read_text())["enable-banking"]
    client = service(place)
    banks = client.get_aspsps(country="BG", psu_type=PSUType.PERSONAL)
    bank = next(bank for bank in banks if bank.name == "DSK Bank")
    check(bank.maximum_consent_validity, 15552000, "the longest consent")
    check(client.get_aspsps(country="FI", psu_type=PSUType.PERSONAL), [], "banks of another country")

    refused(401, None, lambda: service(place, app_id="another").get_aspsps("BG", PSUType.PERSONAL))
    refused(401, None, lambda: service(place, auth_token_lifespan_sec=90_000).get_aspsps("BG", PSUType.PERSONAL))

    def begin(state, redirect_url=place["redirect_url"]):
        return client.start_user_session(bank, state, redirect_url, "en", PSUType.PERSONAL)

    refused(400, "REDIRECT_URI_NOT_ALLOWED", lambda: begin("s", "https://elsewhere.example/"))
    started = begin("my state")
    browser = requests.get(started.url, allow_redirects=False)
    check(browser.status_code, 302, "the bank's page sends the browser back")
    back = browser.headers["location"]
    check(back.startswith(place["redirect_url"] + "?"), True, "to the registered address")
    answer = parse_qs(urlsplit(back).query)
    check(answer["state"], ["my state"], "with the state")
    session = client.authorize_user_session(answer["code"][0])
    refused(400, "ALREADY_AUTHORIZED", lambda: client.authorize_user_session(answer["code"][0]))
    refused(400, "WRONG_AUTHORIZATION_CODE", lambda: client.authorize_user_session("no code"))
    check((session.aspsp.name, session.psu_type), ("DSK Bank", "personal"), "the session is of the bank")

    account = session.accounts[0]
    check(account.account_id.iban, "BG17RZBB91550123456789", "the account has its IBAN")
    check(client.get_account_details(account.uid).identification_hash, account.identification_hash, "and one hash")
    balances = client.get_account_balances(account.uid).balances
    check([balance.balance_type.value for balance in balances], ["CLBD", "ITAV"], "balances have their types")
    rows = client.get_account_transactions(account.uid)
    check(len(rows), 3, "every row comes")
    check({row.credit_debit_indicator for row in rows}, {"CRDT", "DBIT"}, "in both directions")
    check(all(row.transaction_amount.amount > 0 for row in rows), True, "with amounts that have no sign")
    week = client.get_account_transactions(account.uid, date_from=datetime.datetime.now() - datetime.timedelta(days=7))
    check(len(week), 1, "a window holds its own rows")

    again = client.authorize_user_session(parse_qs(urlsplit(
        requests.get(begin("two").url, allow_redirects=False).headers["location"]).query)["code"][0])
    check(again.accounts[0].uid == account.uid, False, "a new consent gives a new id")
    check(again.accounts[0].identification_hash, account.identification_hash, "and the same hash")
    client.delete_user_session(session.session_id, None)
    refused(401, "CLOSED_SESSION", lambda: client.get_account_transactions(account.uid))
    refused(404, "ACCOUNT_DOES_NOT_EXIST", lambda: client.get_account_balances("00000000-0000-4000-8000-000000000000"))
    print(f"enablebanking-sdk: {CHECKS} checks")


if __name__ == "__main__":
    main(sys.argv[1])
