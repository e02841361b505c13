import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { create, events, fullPass, insert, rows, source, sql, target, useCopier } from "../support/copier";

// Names that lsyncd's list and rsync's rules write differently, as the copier of databases handles them.

useCopier();

/** A path as lsyncd 2.2.3 writes it into its list. */
const listed = (name: string): string => `/${name.replaceAll(/[?*[\]]/g, "\\$&")}`;

it.each(["a]b", "d]x/f", "q?\\w", "[a]/b", "back\\slash", "all *?[]\\"])(
  "mirrors a change of %j",
  async (name) => {
    const file = path.join(source, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, "old");
    await fullPass();
    writeFileSync(file, "newer");
    await events(listed(name));
    expect(readFileSync(path.join(target, name), "utf8")).toBe("newer");
  },
  60_000,
);

it("mirrors a database with such a name", async () => {
  await sql(path.join(source, "base].sqlite"), create, insert(3));
  await events(listed("base].sqlite"));
  expect(await rows("base].sqlite")).toBe("ok\n3");
}, 60_000);

it.each(["\r", "\n"])(
  "a database named with %j and found by its header does not affect another file",
  async (end) => {
    mkdirSync(path.join(source, "cr"));
    await sql(path.join(source, `cr/y${end}bar`), create, insert(3));
    await fullPass();
    writeFileSync(path.join(source, "bar"), "x");
    writeFileSync(path.join(source, "cr/bar"), "x");
    await fullPass();
    expect([existsSync(path.join(target, "bar")), existsSync(path.join(target, "cr/bar"))]).toEqual([true, true]);
    expect(await rows(`cr/y${end}bar`)).toBe("ok\n3");
  },
  60_000,
);
