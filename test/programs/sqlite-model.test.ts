import { appendFileSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { programs } from "../../tools/torture/settings";
import { histories } from "../support/model";
import { installTime, needPrograms } from "../support/programs";

// A few random histories, and one for each of some faults that a copier could have. test/hosts/sqlite-model.test.ts replays many more.

beforeAll(() => needPrograms("perl", "python3"), installTime);

test("in random histories, the mirror is always a committed state, and the newest in the end", async () => {
  const first = Math.floor(Math.random() * 1e6) + 1e6;
  console.log(`seeds from ${first}`);
  expect(await histories(first, 12)).toEqual({ replayed: 12, faults: [] });
}, 300_000);

interface Options {
  often?: string;
  count?: number;
}

// A copier with a fault, which a history must find: functions that a module has twice, the second time with the fault.
describe("finds a copier that", () => {
  let library: string;
  beforeEach(() => {
    library = mkdtempSync(path.join(tmpdir(), "faulty-copier-"));
    cpSync(path.join(programs, "LsyncdAsCode"), path.join(library, "LsyncdAsCode"), { recursive: true });
  });
  afterEach(() => {
    rmSync(library, { recursive: true, force: true });
  });

  const power = { often: "power" };
  test.each([
    ["takes the place at which a log was truncated for its end", "Wal", "sub ended_before { return 1 }", 6000016, {}],
    [
      "copies a database that a crash left in the middle of a transaction",
      "Unit",
      "sub hot_journal { return 0 }",
      6000001,
      {},
    ],
    ["copies while a writer holds its lock", "Locks", "sub lock_shared { return 1 }", 6000001, {}],
    ["loses the mirror's log when it is killed", "Install", "sub absorb { return }", 6000007, {}],
    [
      "reads a log beside an empty database",
      "Unit",
      `sub open_wal {
         my ($unit) = @_;
         $unit->{$_} = open_file($unit->{directory}, "$unit->{name}-$_") for qw(wal shm);
         $unit->{live} = $unit->{shm} && held_by_other($unit->{shm}, SHM_DMS) ? 1 : 0;
         return;
       }`,
      6000016,
      {},
    ],
    [
      "follows a log that was restarted after a power cut",
      "Mark",
      "{ my $right = \\&marked_frames; sub known { return (($right->(@_))[0], 1) } *marked_frames = \\&known }",
      6000006,
      power,
    ],
    ["trusts a closed log after a power cut", "Follow", "sub valid_frames { return 1e9 }", 6000006, power],
    [
      "trusts the time of a main file after a power cut",
      "Mark",
      "{ my $right = \\&read_mark; sub always { my $mark = $right->(@_) or return undef; $mark->{known} = 1; return $mark } *read_mark = \\&always }",
      6000016,
      // Times that are a few milliseconds apart decide, so it is not always the same one.
      { ...power, count: 44 },
    ],
    ["makes a first copy while a writer holds its lock", "First", "sub try_shared { return 1 }", 30000093, {}],
    [
      "makes a first copy in the middle of a transaction that a crash ended",
      "First",
      "{ my $right = \\&status; sub blind { return $_[1] =~ /-journal/ ? undef : $right->(@_) } *status = \\&blind }",
      30000106,
      {},
    ],
    ["makes a first copy beside a log that is left over", "First", "sub remove_file { return }", 30000192, {}],
  ])("%s", async (_, module, fault, seed, { count = 1, ...options }: Options) => {
    appendFileSync(path.join(library, `LsyncdAsCode/${module}.pm`), `\nno warnings;\n${fault}\n1;\n`);
    const { replayed, faults } = await histories(seed, count, { library, ...options });
    const found: unknown =
      count === 1 ? [expect.stringContaining(`seed ${seed}: `)] : expect.arrayContaining([expect.any(String)]);
    expect([replayed, faults]).toEqual([count, found]);
    // The same histories find nothing in the copier as it is.
    expect(await histories(seed, count, options)).toEqual({ replayed: count, faults: [] });
  });
});
