/** A fenced block of shell commands in a page. Its info string defines how a test runs it; readers do not see that. */
export interface Block {
  /** In the repository, or on a deployed host. */
  where: "here" | "host";
  /** The permitted exit codes of each of its commands. */
  exits: number[];
  /** Why no test can run it. */
  skipped?: string;
  commands: string[];
  /** The line of the page on which it begins. */
  line: number;
}

/** A fenced block of any kind. */
export interface Fenced {
  info: string;
  text: string[];
  line: number;
}

/** The fenced blocks of a page. */
export function fencedBlocks(markdown: string): Fenced[] {
  const blocks: Fenced[] = [];
  let open: (Fenced & { fence: string; indent: number }) | undefined;
  for (const [index, line] of markdown.split("\n").entries()) {
    const [, indent = "", fence, info = ""] = /^(\s*)(`{3,})(.*)$/.exec(line) ?? [];
    if (open && fence !== undefined && fence.length >= open.fence.length && info === "") {
      blocks.push({ info: open.info, text: open.text, line: open.line });
      open = undefined;
    } else if (open) open.text.push(line.slice(Math.min(open.indent, line.search(/\S|$/))));
    else if (fence !== undefined) open = { info, text: [], line: index + 1, fence, indent: indent.length };
  }
  return blocks;
}

/**
 * The shell commands of a page. Their blocks are `sh`, `sh host`, either with `exits 0 1` or with `not run: REASON`.
 * Throws when an info string is none of these.
 */
export function shellBlocks(markdown: string): Block[] {
  return fencedBlocks(markdown)
    .filter(({ info }) => /^sh\b/.test(info))
    .map(({ info, text, line }) => {
      const [, host, exits, skipped] = /^sh( host)?(?: exits((?: \d+)+)| not run: (.+))?$/.exec(info) ?? [];
      if (!/^sh( host)?( exits( \d+)+| not run: .+)?$/.test(info))
        throw new Error(`line ${line}: \`\`\`${info} does not say how it is run (tools/docs/blocks.ts)`);
      return {
        where: host === undefined ? "here" : "host",
        exits: exits === undefined ? [0] : exits.trim().split(" ").map(Number),
        ...(skipped === undefined ? {} : { skipped }),
        commands: commandsOf(text),
        line,
      };
    });
}

/** One command a line; a line that ends with a backslash continues in the next. */
function commandsOf(lines: string[]): string[] {
  return lines
    .join("\n")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}
