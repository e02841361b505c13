import { quote } from "../../tools/sandbox";
import { row } from "../support/faults";
import { testMs } from "../support/vm";
import { prepareLacking, type Lacking } from "../support/vm-lacking";

// The kernel ends what belongs to a deployment, for lack of memory.

jest.setTimeout(testMs);

let on: Lacking;
beforeAll(async () => {
  on = await prepareLacking();
});
afterAll(async () => {
  await on.d.remove();
});

// The deployment's programs run in the service of sshd. With this limit even a login is ended, so the host itself ends the limit.
const limited = `set() { systemctl set-property --runtime ssh.service MemoryMax=$1; }
set 8M; sleep 20; set infinity`;

it.each([0.1, 0.4, 0.7])(
  "a deployment whose programs get no more memory after %s of it: the host runs the old one or the new one, and nothing is lost",
  async (part) => {
    const { d, lasts, where } = on;
    const { sums, old } = await on.prepared();
    const killed = "awk '/^oom_kill /{ print $2 }' /proc/vmstat";
    const kills = Number(await d.on(killed));
    const up = d.stack.up();
    await new Promise((resolve) => setTimeout(resolve, lasts * part));
    await d.attempt(`systemd-run -q --collect --unit=limit bash -c ${quote(limited)}`);
    const finished = await up;
    await d.until(
      "the limit is gone",
      async () => (await d.attempt("systemctl is-active limit")).stdout.trim() === "inactive",
    );
    const outcome = await on.deployed(Promise.resolve(finished), old);
    const more = Number(await d.on(killed)) - kills;
    expect(more).toBeGreaterThan(0);
    await on.recovers(sums);
    await row({
      injected: `A deployment whose programs get no more memory (MemoryMax) after ${String(part * 100)} % of it (${where})`,
      happened: `the kernel ended ${String(more)} processes; ${outcome}; with memory again, the same deployment succeeded`,
      lost: 0,
    });
  },
);
