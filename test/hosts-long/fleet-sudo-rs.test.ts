import { execOn, type SandboxHost } from "../../tools/sandbox";
import { on } from "../support/deployment";
import { testSudo } from "../support/sudo-core";

/**
 * Puts sudo-rs and rust-coreutils in the place of sudo and coreutils, as Ubuntu does since 25.10. Debian installs them beside those:
 * each program that both have is replaced.
 */
async function replace(host: SandboxHost): Promise<void> {
  await execOn(
    host,
    `set -e; export DEBIAN_FRONTEND=noninteractive
     apt-get -qq update && apt-get -qq install -y sudo-rs rust-coreutils >/dev/null
     divert() { dpkg-divert --quiet --local --rename --divert "$1.gnu" "$1"; }
     divert /usr/bin/sudo && ln -s sudo-rs /usr/bin/sudo
     for own in /usr/lib/cargo/bin/coreutils/*; do
       name=\${own##*/}
       [ -e "/usr/bin/$name" ] || continue
       case "$(dpkg -S "/usr/bin/$name" 2>/dev/null)" in coreutils:*) divert "/usr/bin/$name"; /usr/lib/cargo/bin/coreutils/ln -s "$own" "/usr/bin/$name" ;; esac
     done`,
    { timeoutMs: 300_000 },
  );
  // The test is valid only if these programs answer.
  expect(await on(host, "sudo --version 2>&1")).toMatch(/^sudo-rs /);
  for (const name of ["cat", "stat", "ls", "timeout", "mktemp", "date", "install", "sort"])
    expect(await on(host, `${name} --version 2>&1`)).toMatch(/^\S+ 0\.\d+\.\d+$/);
}

testSudo({ release: "trixie", sudoers: "", arrange: replace });
