import { account } from "../../tools/start/account";

const host = { name: "sqlite-1", source: "/mnt/a", target: "/mnt/b", release: "bookworm" } as const;
const mirrored = (rows: number): string =>
  account(host, { milliseconds: 1234, rows, database: "c.sqlite" }, "1 created", "2.2.3").join("\n");

it("npm start prints the number of rows as an English phrase", () => {
  expect(mirrored(1)).toContain("c.sqlite with 1 row: the newest arrived 1.2 s");
  expect(mirrored(2)).toContain("c.sqlite with 2 rows: the newest");
});
