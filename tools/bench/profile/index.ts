import { parseArgs } from "node:util";
import { sshArgs } from "../../sandbox";
import { Stack } from "../../stack";
import { ensureToolchain } from "../../toolchain";
import { measured } from "../measured";
import { say, throughWords } from "../options";
import { conditions, writeResults } from "../results";
import { inSandbox } from "../sandbox";
import type { ProfileResults } from "./section";

const usage = `Where the time of a run that changes nothing goes: the commands that it is made of, each measured alone.

  npm run bench -- profile [--runs 3] [--through COMMAND]`;

// As infra/main.cjs does, which runs the program as well.
const loadTsx = 'require("./infra/typescript.cjs").readTypescript()';
const loadProgram = `${loadTsx}; require("./infra/program.ts")`;

/** Measures the parts of a run, and keeps what it finds. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      runs: { type: "string", default: "3" },
      through: { type: "string", default: "" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const { engine } = await ensureToolchain({ say });
  await inSandbox({ hosts: 1, volumeSizeMb: 64 }, async ({ hosts: [host], directory }) => {
    const stack = await new Stack({ name: "bench", directory }).init();
    await stack.configure([host], { alertRecipients: "root@localhost.localdomain" });
    const first = await stack.up();
    if (first.code !== 0) throw new Error(`${first.stdout}\n${first.stderr}`);

    const env = { ...stack.environment(), PATH: `${engine.folder}:${process.env.PATH ?? ""}` };
    const node = process.execPath;
    const up = ["--stack", "bench", "--config-file", stack.configFile, "--yes", "--skip-preview", "--non-interactive"];
    const steps: [title: string, argv: string[]][] = [
      ["Node starts", [node, "-e", ""]],
      ["Node starts and loads tsx", [node, "-e", loadTsx]],
      ["npm starts a script", ["npm", "run", "env"]],
      ["the engine starts", [engine.path, "version"]],
      ["Node loads Pulumi's SDK, all of it", [node, "-e", 'require("@pulumi/pulumi")']],
      ["Node loads the program and what it uses of the SDK", [node, "-e", loadProgram]],
      ["one SSH connection, one command", [...sshArgs(host), "true"]],
      ["the engine's `up`", [engine.path, "up", ...up]],
      ["`npm run up`, all of it", ["npm", "run", "up", "--", ...up]],
    ];
    const found: ProfileResults["steps"] = steps.map(([title]) => ({ title, seconds: [], cpu: [] }));
    for (let run = 0; run < Number(values.runs); run += 1) {
      for (const [index, [title, argv]] of steps.entries()) {
        const { seconds, cpu } = await measured({ argv, env }, throughWords(values.through));
        found[index]?.seconds.push(Number(seconds.toFixed(3)));
        found[index]?.cpu.push(Number(cpu.toFixed(3)));
        say(`${title}: ${seconds.toFixed(2)} s`);
      }
    }
    await writeResults("profile", { conditions: await conditions(), steps: found } satisfies ProfileResults);
  });
  return 0;
}
