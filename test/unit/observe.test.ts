import { lookAt } from "../../infra/observe";
import { entry, hostKey, settingsOf } from "./support/settings";

const agent = process.env.SSH_AUTH_SOCK;

afterEach(() => {
  if (agent === undefined) delete process.env.SSH_AUTH_SOCK;
  else process.env.SSH_AUTH_SOCK = agent;
});

it("does not claim that a host was unreachable when there is no way to log in", async () => {
  process.env.SSH_AUTH_SOCK = "";
  const [host] = settingsOf({ hosts: [entry] }).hosts;
  if (host === undefined) throw new Error("no host");
  const connection = { host: host.address, port: 22, user: "root", hostKey };
  const { fault } = await lookAt({ host, connection, command: { create: "true", stdin: "" }, digests: [] });
  expect(fault).toEqual({
    how: "was not contacted",
    text: `root@${host.address} port 22: no login method: set lsyncd:privateKey or lsyncd:password, or start an ssh-agent`,
  });
});
