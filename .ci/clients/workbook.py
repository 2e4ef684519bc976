#!/usr/bin/env python3
"""Proves the figures of the three tabs outside of bankfeed.

    workbook.py ADDRESSES.json [FOLDER]

Reads the delivered spreadsheet from the simulated Google, values and formulas as they are, writes it as an .xlsx, lets
LibreOffice compute every formula, and compares sums by account, month and category with figures made here from what the
simulated bank answers. With FOLDER the workbook and a picture of each page stay there. QUERY, UNIQUE, FILTER and HSTACK
are Google's alone (or too new for LibreOffice): their lists are made here, the sums over them are LibreOffice's. Says
that it is skipped where LibreOffice is not there and cannot be installed.
"""

import collections
import datetime
import decimal
import html
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import zoneinfo

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path) != HERE]

import google.auth.transport.requests
import openpyxl
import openpyxl.chart
import requests
from google.oauth2 import service_account
from openpyxl.utils import get_column_letter

SCOPES = ["https://www.googleapis.com/auth/spreadsheets"]
ROWS, BALANCES, DASHBOARD = "Transactions", "Balances", "Dashboard"
EPOCH = datetime.date(1899, 12, 30)
SOFIA = zoneinfo.ZoneInfo("Europe/Sofia")
CENT = decimal.Decimal("0.01")


def cents(value):
    return decimal.Decimal(str(value)).quantize(CENT)


def month(time):
    return datetime.datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z").astimezone(SOFIA).strftime("%Y-%m")


# ---- the bank -------------------------------------------------------------------------------------------------------

def bank_rows(bank):
    """Every entry of every account, asked for the way a browser would, with nothing of bankfeed's in between."""
    session = requests.Session()
    authorize = bank["url"] + "/oauth2-server/oauth/authorize?" + urllib.parse.urlencode(
        {"response_type": "token", "client_id": "E_BANK", "redirect_uri": "/EBank/", "scope": "E_BANK", "state": "x"})
    # The page comes in several styles; one of the next ones is plain.
    tag = None
    while tag is None:
        page = re.sub(r"<!--.*?-->", "", session.get(authorize).text, flags=re.S)
        tag = re.search(r"""<(?:meta|input)[^>]*name=["']?_csrf["']?[\s/>][^>]*>?""", page)
    tag = tag.group(0)
    csrf = html.unescape(re.search(r"""(?:content|value)=["']?([^"'\s>]+)""", tag).group(1))
    session.get(bank["url"] + "/oauth2-server/api/v1/sywscertificate/fnGetCertsForLogin",
                params={"client_id": "E_BANK", "userName": bank["username"]})
    form = {"username": bank["username"], "password": bank["password"], "client_id": "E_BANK", "lang": "bg",
            "time": datetime.datetime.now(SOFIA).strftime("%Y-%m-%dT%H:%M:%S%z"), "system": "", "sig": "", "_csrf": csrf}
    answer = session.post(bank["url"] + "/oauth2-server/login", data=form, allow_redirects=False)
    for _ in range(5):
        location = urllib.parse.urljoin(bank["url"], answer.headers["Location"])
        found = re.search(r"access_token=([^&]+)", location)
        if found:
            break
        answer = session.get(location, allow_redirects=False)
    headers = {"Authorization": "Bearer " + urllib.parse.unquote(found.group(1)), "EBank-App-Version": "1",
               "EBank-Device-Id": "AABBCCDDEE", "X-Requested-With": "XMLHttpRequest", "Accept": "application/json"}

    def ask(path, customer=None, **query):
        more = {"EBank-Cust-Id": str(customer)} if customer else {}
        answer = session.get(f"{bank['url']}/EBank/api/v1/{path}", params=query, headers={**headers, **more})
        answer.raise_for_status()
        return json.loads(answer.text, parse_float=decimal.Decimal)

    rows, balances = {}, {}
    for customer in ask("sywsquery/sywsquery/getCustQuery")["customer"]:
        for account in ask("sywspicklist/sywspicklist/getFilteredAccounts", customer["ibCustomerId"]):
            iban = account["ibanAcNo"]
            reply = ask("sywsquery/sywsquery/GetCustBal", customer["ibCustomerId"], FromDate="2010-01-01T00:00:00+0200",
                        ToDate="2100-01-01T00:00:00+0200", Iban=iban, StmtType="T", isAccountFromPSD2="false")
            entry = reply["acc"][0]
            balances[iban] = (entry["ccy"], cents(entry["acyCurrBalance"]))
            for row in entry.get("stmt") or []:
                if not row.get("acEntrySrNo"):
                    continue
                amount = cents(row["amount"])
                rows[f"fibank:{iban}:{row['acEntrySrNo']}"] = {
                    "account": iban, "currency": entry["ccy"], "month": month(row["dateTime"]),
                    "amount": -amount if row["dtkt"].upper().startswith("D") else amount,
                    "type": row.get("trname") or "", "payee": (row.get("contragent") or "").strip(),
                    "day": row["dateTime"][:10], "other": row.get("trnAccount") or "",
                }
    for row in rows.values():
        row["transfer"] = any(is_half(row, other) for other in rows.values())
    return rows, balances


def is_half(row, other):
    """Whether two rows of the owner's own accounts move one amount from one to the other."""
    days = abs((datetime.date.fromisoformat(row["day"]) - datetime.date.fromisoformat(other["day"])).days)
    names = row["other"] == other["account"] or other["other"] == row["account"]
    return (row["account"] != other["account"] and row["amount"] == -other["amount"] and days <= 5 and names
            and row["currency"] == other["currency"])


# ---- the sheet ------------------------------------------------------------------------------------------------------

class Book:
    def __init__(self, where):
        credentials = service_account.Credentials.from_service_account_file(where["key_file"], scopes=SCOPES)
        self.session = google.auth.transport.requests.AuthorizedSession(credentials)
        self.url = f"{where['url']}/v4/spreadsheets/{where['spreadsheet']}"

    def read(self):
        answer = self.session.get(self.url, params={"includeGridData": "true"})
        answer.raise_for_status()
        return {sheet["properties"]["title"]: sheet for sheet in answer.json()["sheets"]}

    def write(self, tab, start, values):
        body = {"valueInputOption": "RAW", "data": [{"range": f"'{tab}'!{start}", "values": values}]}
        self.session.post(self.url + "/values:batchUpdate", json=body).raise_for_status()


def cells(sheet):
    """Row, column, value as typed in, number format; counted from 0."""
    for data in sheet.get("data", []):
        for row, line in enumerate(data.get("rowData", [])):
            for column, cell in enumerate(line.get("values", [])):
                value = cell.get("userEnteredValue", {})
                number = cell.get("userEnteredFormat", {}).get("numberFormat", {}).get("pattern")
                yield row, column, next(iter(value.items()), (None, None)), number


def table(sheet):
    """Cells that hold something."""
    grid = collections.defaultdict(dict)
    for row, column, (_, value), _ in cells(sheet):
        if value is not None:
            grid[row][column] = value
    return grid


def category_of(payee):
    """What an owner might have filled in."""
    words = {"Groceries": "КАУФЛАНД|ЛИДЛ|БИЛЛА|МАРКЕТ|ХЛЯБ", "Home": "НАЕМ|ТОК|ВОДА|ЕЛЕКТРО|ТОПЛО|VIVACOM|НЕТ",
             "Cafés": "КАФЕ|РЕСТОРАНТ|ПИЦА"}
    return next((name for name, word in words.items() if re.search(word, payee.upper())), "")


# ---- the workbook ---------------------------------------------------------------------------------------------------

def lists(formula, grid, currency):
    """The lists that only Google's functions make: rows of values, or nothing."""
    columns = {name: at for at, name in grid[0].items()}
    rows = [grid[row] for row in sorted(grid) if row > 0]
    if formula.startswith("=IFERROR(SORT(UNIQUE("):
        return [[name] for name in sorted({row.get(columns["Category"]) or "" for row in rows} - {""})] or [[""]]
    if formula.startswith("=IFERROR(QUERY("):
        sums = collections.Counter()
        for row in rows:
            payee, amount = row.get(columns["Counterparty"]) or "", row[columns["Amount"]]
            if payee and amount < 0 and row[columns["Currency"]] == currency:
                sums[payee] -= amount
        return [["Counterparty", "Debit"]] + [list(one) for one in sums.most_common(12)]
    return None


def workbook(sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    grid = table(sheets[ROWS])
    for title in (DASHBOARD, BALANCES, ROWS):
        page = book.create_sheet(title)
        own = table(sheets[title])
        for row, column, (kind, value), number in cells(sheets[title]):
            cell = page.cell(row + 1, column + 1)
            spill = lists(value, grid, own[0].get(1)) if kind == "formulaValue" else None
            if spill:
                for down, line in enumerate(spill):
                    for right, one in enumerate(line):
                        into = page.cell(row + 1 + down, column + 1 + right)
                        into.value = one
                        if isinstance(one, str):
                            into.data_type = "s"
            elif kind == "formulaValue":
                cell.value = value
            elif kind == "stringValue":
                cell.value = value
                cell.data_type = "s"
            elif value is not None:
                cell.value = value
            if number:
                cell.number_format = number
        for data in sheets[title].get("data", []):
            for at, line in enumerate(data.get("columnMetadata", [])):
                page.column_dimensions[get_column_letter(at + 1)].width = line.get("pixelSize", 100) / 7
    return book


def draw(book, sheets):
    """The charts as they were asked for."""
    page = book[DASHBOARD]
    for chart in sheets[DASHBOARD].get("charts", []):
        spec = chart["spec"]["basicChart"]
        drawn = {"LINE": openpyxl.chart.LineChart}.get(spec["chartType"], openpyxl.chart.BarChart)()
        if spec["chartType"] == "BAR":
            drawn.type = "bar"
            drawn.y_axis.delete = drawn.x_axis.delete = False
        drawn.x_axis.delete = drawn.y_axis.delete = False

        def reference(holder):
            area = holder["sourceRange"]["sources"][0]
            return openpyxl.chart.Reference(page, min_col=area.get("startColumnIndex", 0) + 1,
                                            max_col=area["endColumnIndex"], min_row=area.get("startRowIndex", 0) + 1,
                                            max_row=area["endRowIndex"])
        for series in spec["series"]:
            drawn.add_data(reference(series["series"]), titles_from_data=True)
        domain = reference(spec["domains"][0]["domain"])
        domain.min_row += 1
        drawn.set_categories(domain)
        if page.cell(domain.min_row, domain.min_col).number_format == "yyyy-mm":
            drawn.x_axis.number_format = "yyyy-mm"
        drawn.title, drawn.width, drawn.height = chart["spec"]["title"], 17, 9
        if len(spec["series"]) == 1:
            drawn.legend = None
        anchor = chart["position"]["overlayPosition"]["anchorCell"]
        page.add_chart(drawn, f"{get_column_letter(anchor['columnIndex'] + 1)}{anchor['rowIndex'] + 1}")


def office():
    found = shutil.which("soffice")
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL,
                 "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "libreoffice-calc"], **quiet)
        found = shutil.which("soffice")
    return found


def convert(soffice, file, kind, folder):
    profile = pathlib.Path(folder, "profile").as_uri()
    subprocess.run([soffice, f"-env:UserInstallation={profile}", "--headless", "--convert-to", kind, "--outdir", folder,
                    file], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)


# ---- the comparison -------------------------------------------------------------------------------------------------

def compare(computed, rows, balances, owned):
    wrong = []

    def same(what, found, expected):
        try:
            found = cents(found if found not in (None, "") else 0)
        except decimal.InvalidOperation:
            pass
        if found != cents(expected):
            wrong.append(f"{what}: {found} instead of {expected}")

    # By account and currency.
    page = list(computed[BALANCES].iter_rows(values_only=True))
    header = {name: at for at, name in enumerate(page[1]) if name}
    seen = set()
    for line in page[2:]:
        account, currency = line[header["Account"]], line[header["Currency"]]
        if not account:
            continue
        seen.add(account)
        stored = [row for ident, row in owned.items() if row["account"] == account and row["currency"] == currency]
        same(f"sum of {account} {currency}", line[header["Sum of rows"]], sum(row["amount"] for row in stored))
        same(f"difference of {account} {currency}", line[header["Difference"]], 0)
        if balances[account][0] == currency:
            same(f"balance of {account}", line[header["Bank balance"]], balances[account][1])
    if seen != set(balances):
        wrong.append(f"accounts {sorted(seen)} instead of {sorted(balances)}")

    # By month, in the currency of the dashboard.
    page = [list(line) for line in computed[DASHBOARD].iter_rows(values_only=True)]
    currency, fee = page[0][1], page[0][3]
    inside = [row for row in owned.values() if row["currency"] == currency and not row["transfer"]]
    # Further right stands the table of what is left out.
    header = {}
    for at, name in enumerate(page[3]):
        header.setdefault(name, at)
    months = 0
    for line in page[4:28]:
        month = line[0].strftime("%Y-%m")
        of = [row for row in inside if row["month"] == month]
        same(f"debit of {month}", line[header["Debit"]], -sum(row["amount"] for row in of if row["amount"] < 0))
        same(f"credit of {month}", line[header["Credit"]], sum(row["amount"] for row in of if row["amount"] > 0))
        fees = [row["amount"] for row in of if row["amount"] < 0 and fee in row["type"].lower()]
        same(f"fees of {month}", line[header["Fees"]], -sum(fees))
        months += bool(of)
    total = sum(balance for currency_of, balance in balances.values() if currency_of == currency)
    same("balance at the end of the last month", page[27][header["Balance"]], total)

    # By category.
    categories = {line[0]: line for line in page[31:52] if line[0]}
    for name in sorted({row["category"] for row in inside}):
        line = categories.get(name or "(none or further ones)")
        of = [row["amount"] for row in inside if row["category"] == name]
        same(f"debit of category {name!r}", line and line[1], -sum(amount for amount in of if amount < 0))
        same(f"credit of category {name!r}", line and line[2], sum(amount for amount in of if amount > 0))
    for message in wrong:
        print(message)
    print(f"LibreOffice agrees with the bank: {len(seen)} accounts, {months} months with rows, {len(categories)} categories"
          if not wrong else f"{len(wrong)} figures differ")
    return not wrong


def main(addresses, folder=None):
    soffice = office()
    if soffice is None:
        print("workbook skipped: LibreOffice is not here and cannot be installed")
        return 0
    places = json.loads(pathlib.Path(addresses).read_text())
    rows, balances = bank_rows(places["fibank"])
    book = Book(places["google"])

    # The owner fills in categories.
    grid = table(book.read()[ROWS])
    columns = {name: at for at, name in grid[0].items()}
    for row in range(1, len(grid)):
        grid[row].setdefault(columns["Category"], category_of(grid[row].get(columns["Counterparty"]) or ""))
    column = [[grid[row][columns["Category"]]] for row in range(1, len(grid))]
    book.write(ROWS, f"{get_column_letter(columns['Category'] + 1)}2", column)

    # The bank's rows, with the facts that only the sheet has: the category, and the currency a row was first seen in.
    owned = {ident: dict(row) for ident, row in rows.items()}
    for row in range(1, len(grid)):
        owned[grid[row][columns["Transaction ID"]]]["category"] = grid[row][columns["Category"]]
    sheets = book.read()
    made = workbook(sheets)
    with tempfile.TemporaryDirectory() as temporary:
        plain = os.path.join(temporary, "workbook.xlsx")
        draw(made, sheets)
        made.save(plain)
        convert(soffice, plain, "xlsx:Calc MS Excel 2007 XML", os.path.join(temporary, "out"))
        computed = openpyxl.load_workbook(os.path.join(temporary, "out", "workbook.xlsx"), data_only=True)
        if folder:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            for page in made:
                page.page_setup.orientation, page.page_setup.fitToWidth, page.page_setup.fitToHeight = "landscape", 1, 0
                page.sheet_properties.pageSetUpPr = openpyxl.worksheet.properties.PageSetupProperties(fitToPage=True)
            made[ROWS].print_area = f"A1:L40"
            made.save(os.path.join(folder, "workbook.xlsx"))
            convert(soffice, os.path.join(folder, "workbook.xlsx"), "pdf", folder)
            if shutil.which("pdftoppm"):
                subprocess.run(["pdftoppm", "-r", "130", "-png", os.path.join(folder, "workbook.pdf"),
                                os.path.join(folder, "page")], check=True)
        return 0 if compare(computed, rows, balances, owned) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
