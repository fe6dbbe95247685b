"""Runs inside a bundle, with nothing but python, torch and transformers: `python3 BUNDLE.zip`."""

import os
import subprocess
import sys
import tempfile
import zipfile

if sys.version_info < (3, 11):  # noqa: UP036 - whatever python is there runs this
    sys.exit("this bundle needs python 3.11 or later; this is %d.%d" % sys.version_info[:2])  # noqa: UP031 - any python


def main() -> int:
    bundle = os.path.abspath(sys.argv[0])
    result = os.path.splitext(bundle)[0] + ".result.zip"
    with tempfile.TemporaryDirectory(prefix="edgecarbon-") as folder, zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
        job, out = os.path.join(folder, "job"), os.path.join(folder, "out")
        payload, spec = os.path.join(job, "payload.pyz"), os.path.join(job, "spec.json")
        code = subprocess.call([sys.executable, payload, "run", "--spec", spec, "--out", out, "--lock-wait", "3600"])
        if not os.path.exists(os.path.join(out, "result.json")):
            print(f"no result (exit code {code}); mend what is said above, and run this again", file=sys.stderr)
            return code or 1
        with zipfile.ZipFile(result + ".partial", "w", zipfile.ZIP_DEFLATED) as package:
            package.write(os.path.join(folder, "key"), "key")
            for name in ("result.json", "steps.jsonl", "samples.jsonl.gz"):
                if os.path.exists(os.path.join(out, name)):
                    package.write(os.path.join(out, name), name)
        os.replace(result + ".partial", result)
    print(f"Put this file into the inbox of the workflow: {result}")
    return code


if __name__ == "__main__":
    sys.exit(main())
