/** `npm run bench`: measures, and writes docs/performance.md from the results. */
import { runTool, UsageError } from "../../cli/cli";
import { modes } from "./modes";

const width = Math.max(...Object.keys(modes).map((name) => name.length));

const usage = `Measure on sandbox hosts, store the results in docs/performance/, and write docs/performance.md from them.

  npm run bench [-- MODE [OPTIONS]]

${Object.entries(modes)
  .map(([name, { about }]) => `  ${name.padEnd(width)}  ${about}`)
  .join("\n")}

The default mode is deploy. Options of a mode: npm run bench -- MODE --help`;

async function main(args: string[]): Promise<number> {
  const [first = "deploy"] = args;
  if (["--help", "-h", "help"].includes(first)) {
    console.log(usage);
    return 0;
  }
  // Options alone are those of the mode that is meant when none is named.
  const [name, rest] = first.startsWith("-") ? ["deploy", args] : [first, args.slice(1)];
  const mode = modes[name];
  if (!mode) throw new UsageError(`"${name}" is not one of ${Object.keys(modes).join(", ")}`);
  return mode.load().main(rest);
}

runTool(main, { usage });
