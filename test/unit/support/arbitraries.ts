import * as fc from "fast-check";
import { namePatterns, rsyncOptions, volumePath, recipients, url } from "../../../infra/schema";
import type { HostSettings } from "../../../infra/config";
import { hostOf } from "./settings";

// Characters that are special to a shell, Lua, Perl, systemd, Handlebars or a reader of comments, more often than
// ordinary ones.
const telling = fc.constantFrom(
  ..." '\"\\$`%{}[]()<>|&;#!~*?@=-+^,.:_".split(""),
  "$(id)",
  "{{source}}",
  "]]",
  "--",
  "\\n",
  "%%",
);
const character = fc.oneof(
  { weight: 3, arbitrary: telling },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 1 }) },
);
const text = fc.array(character, { minLength: 1, maxLength: 24 }).map((parts) => parts.join(""));

/** Typical mount points. */
export const mountPath = fc
  .array(fc.stringMatching(/^[a-z0-9][A-Za-z0-9_-]{0,20}$/), { minLength: 1, maxLength: 4 })
  .map((names) => `/mnt/${names.join("/")}`);

/** Every path the schema admits, long ones included. */
export const admittedPath = fc
  .oneof(
    { weight: 9, arbitrary: fc.array(text, { minLength: 1, maxLength: 4 }).map((names) => `/${names.join("/")}`) },
    { weight: 1, arbitrary: fc.integer({ min: 200, max: 260 }).map((length) => `/mnt/${"x".repeat(length)}`) },
    { weight: 1, arbitrary: fc.integer({ min: 20, max: 40 }).map((length) => `/mnt/${"é".repeat(length)}`) },
  )
  .filter((path) => volumePath.safeParse(path).success)
  .map((path) => volumePath.parse(path));

/** Mail addresses the schema admits. */
export const admittedAddress = fc
  .oneof(
    fc.emailAddress(),
    fc.stringMatching(/^[A-Za-z0-9_'+.-]{1,20}@[a-z0-9-]{1,10}\.[a-z]{2,4}$/),
    fc.constantFrom("o'brien@example.com", "-t@example.com", "'@example.com", "+@example.com"),
  )
  .filter((address) => recipients.safeParse([address]).success);

const admittedOption = fc
  .oneof(
    text.map((value) => `--temp-dir=/${value}`),
    fc.constantFrom("--delete", "--inplace", "--bwlimit=1.5M", "--block-size=4096"),
  )
  .filter((option) => rsyncOptions.safeParse([option]).success);

const admittedPattern = text.filter((name) => name.isWellFormed() && namePatterns.safeParse([name]).success);

const admittedUrl = text.map((part) => `https://example.com/${part}`).filter((value) => url.safeParse(value).success);

const admittedLine = text.filter((line) => line.isWellFormed() && !/[\x00-\x1f\x7f]/.test(line));
const admittedSmtp = fc
  .record({
    from: admittedAddress,
    port: fc.integer({ min: 1, max: 65535 }),
    user: admittedLine,
    password: admittedLine,
  })
  .map((rest) => ({ host: "smtp.example.com", ...rest }));

/** Hosts with any valid settings. */
export const admittedHost: fc.Arbitrary<HostSettings> = fc
  .record({
    source: admittedPath,
    target: admittedPath,
    alertRecipients: fc.array(admittedAddress, { minLength: 1, maxLength: 3 }),
    delay: fc.integer({ min: 1, max: 3600 }),
    compress: fc.boolean(),
    wholeFile: fc.boolean(),
    rsyncOptions: fc.uniqueArray(admittedOption, { maxLength: 3, selector: (option) => option.split("=")[0] }),
    sqlitePatterns: fc.array(admittedPattern, { maxLength: 3 }),
    sqliteSafe: fc.boolean(),
    heartbeatUrl: fc.option(admittedUrl, { nil: undefined }),
    alertCommand: fc
      .array(admittedLine, { maxLength: 3 })
      .map((words) => (words.length > 0 ? ["/usr/bin/x", ...words] : [])),
    smtp: fc.option(admittedSmtp, { nil: undefined }),
  })
  .filter(({ source, target }) => !`${source}/`.startsWith(`${target}/`) && !`${target}/`.startsWith(`${source}/`))
  .map((settings) => hostOf(Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined))));

/** The number of cases per language process. */
export const batch = 100;

/**
 * Checks a batch of values in one go, because starting a process for each would take minutes. When that fails, halves
 * the batch until one value is left, and throws with it.
 */
export async function assertBatch<T>(one: fc.Arbitrary<T>, check: (values: T[]) => Promise<void>): Promise<void> {
  const seed = Date.now() % 2 ** 31;
  const failure = (values: T[]): Promise<unknown> =>
    check(values).then(
      () => undefined,
      (error: unknown) => error,
    );
  let values = fc.sample(one, { seed, numRuns: batch });
  let error = await failure(values);
  while (error !== undefined && values.length > 1) {
    const half = values.slice(0, values.length / 2);
    const inHalf = await failure(half);
    values = inHalf === undefined ? values.slice(half.length) : half;
    error = inHalf ?? (await failure(values));
  }
  if (error === undefined) return;
  const reason = error instanceof Error ? error.message : JSON.stringify(error);
  throw new Error(`fails with ${fc.stringify(values[0])} (seed ${seed}):\n${reason}`, { cause: error });
}
