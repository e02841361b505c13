import { waitCommand, waitExit, waitText, type Waited } from "../../cli/wait/fleet";
import { hostOf } from "./support/settings";

const waited = (code: number, lastLine = ""): Waited => ({ host: `h${code}`, code, seconds: 1.23, lastLine });

it("has a line for each host, and exits with the worst exit code", () => {
  const all = [
    waited(0),
    waited(1, "lsyncd-wait: not mirrored within 5 s"),
    waited(3, "lsyncd-wait: the mirror is held"),
  ];
  expect(waitText(all)).toBe("h0: mirrored after 1.2 s\nh1: not mirrored within 5 s\nh3: the mirror is held");
  expect([waitExit([waited(0)]), waitExit(all.slice(0, 2)), waitExit(all), waitExit([...all, waited(2)])]).toEqual([
    0, 1, 3, 2,
  ]);
});

it("passes the timeout to the host", () => {
  expect(waitCommand(hostOf(), 30).create).toContain(" wait --timeout 30");
});
