"""Runs bankfeed itself against the simulators, so that what it sends stands in their logs.

Usage: deliver.py ADDRESSES.json BANKFEED-BINARY
"""

import json
import pathlib
import subprocess
import sys
import tempfile


def main(addresses, binary):
    places = json.loads(pathlib.Path(addresses).read_text())
    entries = [places[name]["entry"] for name in ("fibank", "google", "airtable")]
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "config.toml")
        config.touch(mode=0o600)
        config.write_text(f"""
data_dir = "{folder}/data"
timezone = "Europe/Sofia"
{"".join(entries)}since = 2099-01-01
""")
        for round in ("first", "second"):
            done = subprocess.run([binary, "--config", config, "sync", "--json"], capture_output=True, text=True)
            if done.returncode != 0:
                print(done.stdout, done.stderr)
                return 1
            sheets = json.loads(done.stdout)["destinations"][0]
            print(f"{round} cycle: {sheets['appended']} rows in {sheets['requests']} requests")
            if round == "second" and sheets["requests"] != 0:
                print("a cycle with nothing new sent requests")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
