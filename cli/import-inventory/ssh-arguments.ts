/** The ssh arguments in an inventory. */
export interface SshArguments {
  /** The jump hosts, as `user@host:port`, in order. */
  jumps: string[];
  /** Options without an equivalent here, unchanged. */
  rest: string[];
  /** Options that accept any host key. */
  unchecked: string[];
}

/** Splits a line into words like a shell; handles quotes only. */
function words(line: string): string[] {
  return (line.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? []).map((word) =>
    word.replaceAll(/"([^"]*)"|'([^']*)'/g, "$1$2"),
  );
}

/** The jump host of `ssh -W %h:%p [options] user@host`; undefined for any other command. */
function jumpOf(proxyCommand: string): string | undefined {
  const [program, ...args] = words(proxyCommand);
  if (program?.split("/").at(-1) !== "ssh" || !args.includes("-W")) return undefined;
  let port = "";
  let host: string | undefined;
  let user = "";
  for (let index = 0; index < args.length; index += 1) {
    const word = args[index] ?? "";
    if (word === "-W") index += 1;
    else if (word === "-p") port = args[(index += 1)] ?? "";
    else if (word === "-l") user = args[(index += 1)] ?? "";
    else if (word === "-q") continue;
    // Any other option would be lost.
    else if (word.startsWith("-") || host !== undefined) return undefined;
    else host = word;
  }
  if (host === undefined) return undefined;
  return `${user === "" || host.includes("@") ? "" : `${user}@`}${host}${port === "" ? "" : `:${port}`}`;
}

/** Parses the value of `ansible_ssh_common_args` and similar variables. */
export function readSshArguments(line: string): SshArguments {
  const result: SshArguments = { jumps: [], rest: [], unchecked: [] };
  const all = words(line);
  for (let index = 0; index < all.length; index += 1) {
    const word = all[index] ?? "";
    let option: string | undefined;
    if (word === "-o") option = all[(index += 1)];
    else if (word.startsWith("-o")) option = word.slice(2);
    else if (word === "-J") option = `ProxyJump=${all[(index += 1)] ?? ""}`;
    else if (word.startsWith("-J")) option = `ProxyJump=${word.slice(2)}`;
    if (option === undefined) {
      result.rest.push(word);
      continue;
    }
    const [, name = "", value = ""] = /^([A-Za-z]+)(?:\s*=\s*|\s+)(.*)$/.exec(option) ?? [];
    const jump = name.toLowerCase() === "proxycommand" ? jumpOf(value) : undefined;
    if (name.toLowerCase() === "proxyjump") result.jumps.push(...(value === "none" ? [] : value.split(",")));
    else if (jump !== undefined) result.jumps.push(jump);
    else if (/^(stricthostkeychecking|userknownhostsfile|globalknownhostsfile)$/i.test(name))
      result.unchecked.push(option);
    // Ansible uses these to keep its connections open.
    else if (!/^(controlmaster|controlpersist|controlpath)$/i.test(name)) result.rest.push(`-o ${option}`);
  }
  return result;
}

/** The parts of `user@host:port`, where an IPv6 address is in brackets. */
export function readJump(text: string): { address: string; port?: number; user?: string } {
  const [, user, bracketed, plain, port] =
    /^(?:ssh:\/\/)?(?:([^@]+)@)?(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? [];
  return {
    address: bracketed ?? plain ?? text,
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(user === undefined ? {} : { user }),
  };
}
