"""The figures of the whole program against the simulated services: start, idle memory, first deliveries.

Usage: services.py BANKFEED-BINARY [idle] [sheets] [airtable] [simplefin]      (all without names)

The comparison with gspread needs a Python that has it (`pip install gspread`); without, only bankfeed is measured.
`airtable` keeps Airtable's real pace and takes about five minutes.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time


class Simulators:
    def __init__(self, binary, folder, *options):
        self.log = folder / "log"
        command = [binary, "simulate", "--log", self.log, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.places = json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def config(self, folder, destinations):
        text = f"""
data_dir = "{folder}/data"
timezone = "Europe/Sofia"
schedule = "0 3 1 1 *"
catch_up = false
"""
        names = {"sheets": "google", "airtable": "airtable"}
        for name in ["fibank", *(names[name] for name in destinations)]:
            text += self.places[name]["entry"]
        path = folder / f"config-{'-'.join(destinations) or 'none'}.toml"
        path.touch(mode=0o600)
        path.write_text(text)
        return path


def measured(command):
    """Runs a command; its CPU seconds, peak memory in MiB, wall seconds and output."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command} ended with {status}: {output.decode()}")
    cpu = usage.ru_utime + usage.ru_stime
    return cpu, usage.ru_maxrss / 1024, time.monotonic() - started, output


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def wakeups(pid):
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def start_daemon(binary, config, folder):
    """Starts the daemon; seconds until it says that it is ready."""
    path = f"{folder}/notify"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(path)
    started = time.monotonic()
    daemon = subprocess.Popen(
        [binary, "--config", config, "run"], env={**os.environ, "NOTIFY_SOCKET": path}, stderr=subprocess.DEVNULL
    )
    while b"READY=1" not in listener.recv(4096):
        pass
    ready = time.monotonic() - started
    listener.close()
    os.unlink(path)
    return daemon, ready


def idle(binary, folder):
    with Simulators(binary, folder, "--no-limits") as simulators:
        config = simulators.config(folder, ["sheets"])
        subprocess.run([binary, "--config", config, "sync"], check=True, stdout=subprocess.DEVNULL)
        starts = []
        for _ in range(5):
            daemon, ready = start_daemon(binary, config, folder)
            starts.append(ready)
            daemon.terminate()
            daemon.wait()
        daemon, _ = start_daemon(binary, config, folder)
        time.sleep(5)
        fresh = resident(daemon.pid)
        subprocess.run([binary, "--config", config, "sync"], check=True, stdout=subprocess.DEVNULL)
        time.sleep(10)
        worked, before = resident(daemon.pid), wakeups(daemon.pid)
        time.sleep(10)
        woken = wakeups(daemon.pid) - before
        daemon.terminate()
        daemon.wait()
        starts.sort()
        print(f"start to ready: median {starts[2] * 1000:.0f} ms of {[round(s * 1000) for s in starts]} (goal 30 ms)")
        print(f"idle daemon, about 2,800 transactions: {fresh:.1f} MiB resident, {worked:.1f} after a cycle (goal 12)")
        print(f"idle daemon: {woken} wake-ups in 10 s (goal 0)")


GSPREAD = """
import json, sys
import gspread
places = json.load(open(sys.argv[1]))["google"]
client = gspread.service_account(filename=places["key_file"])
client.http_client.session.headers.update({"Accept-Encoding": "identity"})
import gspread.urls, gspread.http_client
root = places["url"] + "/v4/spreadsheets"
for module in (gspread.urls, gspread.http_client):
    for name in dir(module):
        value = getattr(module, name)
        if isinstance(value, str) and value.startswith("https://sheets.googleapis.com"):
            setattr(module, name, value.replace("https://sheets.googleapis.com", places["url"]))
rows = json.load(open(sys.argv[2]))
sheet = client.open_by_key(places["spreadsheet"]).add_worksheet("gspread", len(rows), 12)
for at in range(0, len(rows), 4500):
    sheet.update(rows[at:at + 4500], f"A{at + 1}", value_input_option="USER_ENTERED")
"""


def sheets(binary, folder):
    with Simulators(binary, folder, "--no-limits", "--rows", "100000") as simulators:
        pulling, delivering = simulators.config(folder, []), simulators.config(folder, ["sheets"])
        cpu, peak, wall, _ = measured([binary, "--config", pulling, "sync", "--json"])
        print(f"pull of 100,000 rows into an empty store: {cpu:.2f} s CPU, {wall:.1f} s, peak {peak:.0f} MiB")
        _, small, _, _ = measured([binary, "--config", pulling, "status"])
        cpu, peak, wall, output = measured([binary, "--config", delivering, "sync", "--json"])
        report = json.loads(output)["destinations"][0]
        sizes = [len(json.loads(line)["body"].encode()) for line in open(simulators.log / "google.jsonl")]
        print(
            f"first delivery of {report['appended']} rows to Sheets: {report['requests']} requests (goal 45), largest "
            f"{max(sizes) / 1e6:.2f} MB (goal 2), {cpu:.2f} s CPU, {wall:.1f} s, peak {peak:.0f} MiB, "
            f"{peak - small:.0f} above `status` (goal 64 above idle)"
        )
        rows = subprocess.run(
            [binary, "--config", delivering, "transactions", "--json"], check=True, capture_output=True
        ).stdout
        keys = "date amount currency counterparty description category type account balance value_date reference id"
        plain = [[row[key] or "" for key in keys.split()] for row in json.loads(rows)]
        (folder / "rows.json").write_text(json.dumps(plain))
        (folder / "places.json").write_text(json.dumps(simulators.places))
        try:
            import gspread  # noqa: F401
        except ImportError:
            print("no gspread in this Python: nothing to compare with")
            return
        theirs, their_peak, wall, _ = measured(
            [sys.executable, "-c", GSPREAD, folder / "places.json", folder / "rows.json"]
        )
        print(f"gspread, the same rows: {theirs:.2f} s CPU, {wall:.1f} s, peak {their_peak:.0f} MiB")
        print(f"bankfeed / gspread: {cpu / theirs:.2f} x the CPU (goal below 1)")


def airtable(binary, folder):
    with Simulators(binary, folder, "--rows", "10000") as simulators:
        config = simulators.config(folder, ["airtable"])
        cpu, peak, wall, output = measured([binary, "--config", config, "sync", "--json"])
        report = json.loads(output)["destinations"][0]
        refused = sum(json.loads(line)["status"] == 429 for line in open(simulators.log / "airtable.jsonl"))
        print(
            f"first delivery of {report['appended']} rows to Airtable: {report['requests']} requests (goal 1,000 and the "
            f"set-up), {refused} refused, {report['requests'] / wall:.2f} a second (goal below 5), {cpu:.2f} s CPU with "
            f"the pull (goal 2), peak {peak:.0f} MiB"
        )


def simplefin(binary, folder):
    with Simulators(binary, folder, "--no-limits", "--rows", "100000") as simulators:
        config = folder / "config.toml"
        config.touch(mode=0o600)
        place = simulators.places["simplefin"]
        config.write_text(f'data_dir = "{folder}/data"\n{place["entry"]}access_url = "{place["access_url"]}"\n')
        cpu, peak, wall, output = measured([binary, "--config", config, "sync", "--json"])
        report = json.loads(output)["sources"][0]
        _, small, _, _ = measured([binary, "--config", config, "status"])
        print(
            f"pull of {report['new']} rows from SimpleFIN: {report['requests']} requests, {cpu:.2f} s CPU, {wall:.1f} s, "
            f"peak {peak:.0f} MiB, {peak - small:.0f} above `status` (goal 48 above idle)"
        )
        cpu, peak, wall, output = measured([binary, "--config", config, "sync", "--json"])
        print(f"the same rows again: {cpu:.2f} s CPU, {wall:.1f} s, peak {peak:.0f} MiB, {peak - small:.0f} above `status`")


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    parts = {"idle": idle, "sheets": sheets, "airtable": airtable, "simplefin": simplefin}
    print(f"binary: {os.path.getsize(binary) / 2**20:.2f} MiB (goal 15)")
    for name in sys.argv[2:] or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](binary, pathlib.Path(folder))


if __name__ == "__main__":
    main()
