import { createInterface } from "node:readline";

/**
 * Asks for a password: on a terminal without echo, otherwise reads the first line of standard input. Rejects on Ctrl-C.
 */
export async function askPassword(question: string): Promise<string> {
  const { stdin, stderr } = process;
  if (!stdin.isTTY) {
    for await (const line of createInterface({ input: stdin })) return line;
    return "";
  }
  stderr.write(question);
  stdin.setRawMode(true).setEncoding("utf8").resume();
  try {
    return await new Promise<string>((resolve, reject) => {
      let typed = "";
      const onData = (text: string): void => {
        for (const character of text) {
          if (character === "\r" || character === "\n" || character === "\x04") {
            stdin.off("data", onData);
            resolve(typed);
            return;
          }
          if (character === "\x03") {
            stdin.off("data", onData);
            reject(new Error("nothing was deployed"));
            return;
          }
          typed = character === "\x7f" || character === "\b" ? typed.slice(0, -1) : typed + character;
        }
      };
      stdin.on("data", onData);
    });
  } finally {
    stdin.setRawMode(false).pause();
    stderr.write("\n");
  }
}
