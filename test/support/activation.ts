import type { Reachable } from "../../tools/sandbox";
import { attempt } from "./faults";
import { on } from "./deployment";

/** The files of a deployment, with their checksums, modes and owners. */
export const installed = (host: Reachable): Promise<string> =>
  on(
    host,
    `find /etc/lsyncd /usr/local /etc/systemd/system /etc/logrotate.d -type f \\( -path '*lsyncd*' \\) 2>/dev/null | sort |
     while read -r f; do printf '%s %s %s\\n' "$f" "$(stat -c '%a %U' "$f")" "$(sha256sum <"$f")"; done`,
  );

/** All faults of a deployment that should be complete and in force; empty if there are none. */
export async function faultsOf(host: Reachable): Promise<string> {
  const { output } = await attempt(
    host,
    `cd /var/lib/lsyncd-as-code || exit
     [ -s manifest ] || echo "no manifest"
     while read -r mode hash _ path; do
       [ "$(sha256sum <"$path" | cut -d ' ' -f 1)" = "$hash" ] || echo "$path is another"
       [ "0$(stat -c %a "$path")" = "$mode" ] || echo "$path has mode $(stat -c %a "$path")"
     done <manifest
     [ ! -e transaction ] || echo "a transaction is left: $(ls -R transaction)"
     find / -xdev -name '*.new' -path '*lsyncd*' 2>/dev/null
     systemctl is-active lsyncd lsyncd-monitor.timer | grep -vx active
     systemctl is-enabled lsyncd lsyncd-monitor.timer 2>/dev/null | grep -vx enabled
     pgrep -x lsyncd >/dev/null || { sleep 5; pgrep -x lsyncd >/dev/null || systemctl status lsyncd --no-pager; }
     true`,
  );
  return output;
}
