import { z } from "zod";
import { systemDirectories } from "./paths";
import { mountUnit } from "./quote";
import { rsyncOptionConflicts, rsyncOptionFault } from "./rsync-options";

/**
 * The schemas of settings. Every message states the error and the correct form; config.ts prepends the key's path.
 */

/** Stack values arrive as text; `true`, `5` and so on are converted, everything else stays text. */
const fromText = (value: unknown): unknown => {
  if (typeof value !== "string") return value;
  const text = value.trim();
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  return value;
};

/** true or false, in any case. */
export const flag = z.preprocess(fromText, z.boolean({ error: "must be true or false" }));

/** A whole number within bounds, both included. */
export const whole = (min: number, max: number) => {
  const error = `must be a whole number from ${String(min)} to ${String(max)}`;
  return z.preprocess(fromText, z.number({ error }).int({ error }).min(min, { error }).max(max, { error }));
};

// The longest name systemd takes for a unit (UNIT_NAME_MAX in its unit-name.h counts a NUL as well).
const longestUnit = 255;

/**
 * An absolute path of a volume's mount point, without a trailing slash. Spaces, quotes and non-ASCII letters are
 * fine; control characters are refused because a mount table, a unit name and a log line cannot hold them.
 */
export const volumePath = z
  .string({ error: "must be an absolute path" })
  .transform((path) => (path.length > 1 ? path.replace(/\/+$/, "") || "/" : path))
  .superRefine((path, context) => {
    const refuse = (message: string) => {
      context.addIssue({ code: "custom", message: `${message}, not ${JSON.stringify(path)}` });
    };
    const parts = path.split("/").slice(1);
    if (/[\x00-\x1f\x7f]/.test(path)) refuse("must not contain control characters such as a newline");
    else if (!path.startsWith("/")) refuse("must be an absolute path, one that starts with /");
    else if (path === "/") refuse("must be the mount point of a volume");
    else if (parts.some((part) => part === "" || part === "." || part === ".."))
      refuse("must be written without //, . or ..");
    else if (systemDirectories.includes(`/${parts[0] ?? ""}`)) refuse("must not be, or be inside, a system directory");
    else if (!path.isWellFormed()) refuse("must be valid Unicode");
    else if (mountUnit(path).length > longestUnit)
      refuse(
        `must be shorter: systemd's name for its mount would have ${String(mountUnit(path).length)} characters, and ${String(longestUnit)} are allowed`,
      );
  });

const address = z.email({ error: (issue) => `must be a mail address, not ${JSON.stringify(issue.input)}` }).max(254);

/** One or more mail addresses: a list, or one text with commas between them. */
export const recipients = z.preprocess(
  (value) =>
    typeof value === "string"
      ? value
          .split(",")
          .map((one) => one.trim())
          .filter((one) => one !== "")
      : value,
  z
    .array(address, { error: "must be one or more mail addresses" })
    .min(1, { error: "must hold at least one mail address" }),
);

/** Further rsync options in their long form; those that would break the mirror are refused by name. */
export const rsyncOptions = z
  .array(
    z.string({ error: "must be one long option of rsync such as --bwlimit=10M" }).superRefine((option, context) => {
      const message = rsyncOptionFault(option);
      if (message !== undefined) context.addIssue({ code: "custom", message });
    }),
    { error: "must be a list of rsync options" },
  )
  .superRefine((options, context) => {
    for (const message of rsyncOptionConflicts(options)) context.addIssue({ code: "custom", message });
  });

// msmtp refuses a configuration with a line of more than 500 bytes; the keyword and the quotes take some of them.
const longestLine = 480;

// The longest line that msmtp's configuration can contain.
const line = (what: string) =>
  z
    .string({ error: `must be ${what}` })
    .min(1, { error: `must be ${what}` })
    .regex(/^[^\x00-\x1f\x7f]*$/, { error: "must be one line without control characters" })
    .refine((text) => text.isWellFormed(), { error: "must be valid Unicode" })
    .refine((text) => Buffer.byteLength(text) <= longestLine, {
      error: `must be shorter (${String(longestLine)} bytes)`,
    });

/** A mail server for alerts. */
export const smtp = z
  .strictObject(
    {
      host: z.string({ error: "must be a host name" }).regex(/^[A-Za-z0-9:]([A-Za-z0-9.:-]{0,253})$/, {
        error: "must be a host name or an IP address",
      }),
      port: whole(1, 65535).optional(),
      from: address,
      tls: z.enum(["starttls", "tls", "off"], { error: "must be starttls, tls or off" }).default("starttls"),
      user: line("a user name").optional(),
      password: line("a password").optional(),
      passwordCommand: line("a command that prints the password").optional(),
    },
    { error: "must be an object with host and from" },
  )
  .superRefine((value, context) => {
    const refuse = (key: string, message: string) => {
      context.addIssue({ code: "custom", path: [key], message });
    };
    if (value.password !== undefined && value.passwordCommand !== undefined)
      refuse("passwordCommand", "must not be set together with password");
    const secret = value.password ?? value.passwordCommand;
    if (value.user === undefined && secret !== undefined) refuse("user", "is missing, although a password is set");
    if (value.user !== undefined && secret === undefined)
      refuse("password", "must be set, or else passwordCommand, because user is set");
    if (value.tls === "off" && secret !== undefined && !/^(localhost|127(\.\d+){3}|::1)$/.test(value.host))
      refuse("tls", "must not be off with a password: it would cross the network unprotected");
  });

/** A URL to call over HTTP. */
export const url = z
  .string({ error: "must be a URL" })
  .max(1000)
  // The value is not shown: anyone who knows it can speak for the host.
  .regex(/^https?:\/\/[A-Za-z0-9.:[\]-]+(\/[!-~]*)?$/, { error: "must be a URL that starts with https:// or http://" });

/** A program with its arguments, run without a shell. */
export const command = z
  .array(z.string().regex(/^[^\x00-\x1f\x7f]{1,500}$/, { error: "must be one line of text" }), {
    error: "must be a list: a program and its arguments",
  })
  .refine(([program]) => program === undefined || /^\/[^/]/.test(program), {
    error: "must begin with the absolute path of a program",
  });

/** A file that the monitor writes for node_exporter, which reads names that end with .prom; empty for none. */
export const metricsFile = z
  .string({ error: "must be an absolute path" })
  .regex(/^$|^(\/[^/\x00-\x1f\x7f]+)+\/[^/\x00-\x1f\x7f]+\.prom$/, {
    error: "must be the absolute path of a file whose name ends with .prom, in the textfile collector's directory",
  });

/** The file events that lsyncd watches (its manual, "inotifyMode"). */
export const inotifyMode = z.enum(["CloseWrite", "Modify", "CloseWrite or Modify"], {
  error: "must be CloseWrite, Modify or CloseWrite or Modify",
});

/** Names of databases, as patterns with * and ? as in a shell. */
export const namePatterns = z.array(
  z.string().regex(/^[^/\x00-\x1f\x7f[\]\\]{1,255}$/, { error: "must be a file name, with * and ? as wildcards" }),
  { error: "must be a list of file names, with * and ? as wildcards" },
);

/**
 * A time in systemd's format (systemd.time(7), CALENDAR EVENTS), such as `daily` or `Sun 03:00`; empty for never. Systemd
 * validates it: an activation refuses a value that systemd does not accept.
 */
export const calendar = z
  .string({ error: "must be a time such as Sun 03:00" })
  .regex(/^[A-Za-z0-9 ,:.*/~_+-]{0,100}$/, {
    error: "must be a time as systemd writes it, such as daily or Sun 03:00, or empty",
  });

/**
 * The identity of a volume (volume.sh): the UUID of its file system as `blkid` prints it, for a subvolume or a bind mount
 * followed by its directory; without a UUID, the type of the file system and its device.
 */
export const volumeIds = z.array(
  z.string().regex(/^([A-Za-z0-9-]{4,64}(\/[^\x00-\x1f\x7f]*)?|[a-z0-9._-]{1,32}:[^\x00-\x1f\x7f]{1,255})$/, {
    error: "must be the UUID of a file system as blkid prints it, or the identity that a refusal printed",
  }),
  { error: "must be a list of UUIDs" },
);

/** A host's name in the stack: it names resources and directories on the host. */
export const hostName = z.string({ error: "must be a name" }).regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, {
  error: "must be letters, digits, dots, dashes and underscores",
});

/** A DNS name or an IP address to connect to. */
export const hostAddress = z
  .string({ error: "must be a host name or an IP address" })
  .regex(/^[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,253}[A-Za-z0-9:])?$/, { error: "must be a host name or an IP address" });

/** A login name that Debian's adduser allows. */
export const userName = z.string({ error: "must be a login name" }).regex(/^[a-z_][a-z0-9_-]{0,31}$/, {
  error: "must be a login name: lower-case letters, digits, dashes and underscores",
});

/** A host's public key as in known_hosts or ssh_host_*_key.pub: its type and its base64 text. */
export const publicKey = z
  .string({ error: "must be a public key" })
  .trim()
  .transform((key) => key.split(/\s+/).slice(0, 2).join(" "))
  .refine((key) => /^(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ AAAA[A-Za-z0-9+/]+={0,3}$/.test(key), {
    error: "must be a public key such as `ssh-ed25519 AAAA…`",
  });

// A passphrase or a password is typed at a prompt, so it is one line.
const secretLine = (what: string) =>
  z
    .string({ error: `must be ${what}` })
    .min(1, { error: `must be ${what}` })
    .max(1000, { error: "must be shorter" })
    .regex(/^[^\x00\r\n]*$/, { error: "must be one line" });

/** How to log in. The values are secrets, so no message shows them. */
export const login = {
  privateKey: z.string().includes("PRIVATE KEY", { error: "must be the text of an SSH private key" }),
  privateKeyPassphrase: secretLine("the passphrase of the private key"),
  password: secretLine("a password"),
};

/** A password for sudo. */
export const becomePassword = secretLine("a password");

/** A jump host; without its own login, it uses that of the host behind it. */
export const bastion = z.strictObject(
  {
    address: hostAddress,
    port: whole(1, 65535).default(22),
    user: userName.default("root"),
    hostKey: publicKey.optional(),
    privateKey: login.privateKey.optional(),
    privateKeyPassphrase: login.privateKeyPassphrase.optional(),
    password: login.password.optional(),
  },
  { error: "must be an object with an address" },
);
