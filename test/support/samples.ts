import { readFileSync } from "node:fs";
import { join } from "node:path";
import { formOf, samplesOf, samplesPage, shownMail, wordsOf, type SampleName } from "../../tools/docs/samples";

const samples = samplesOf(readFileSync(join(__dirname, "../..", samplesPage), "utf8"));

/** Fails unless the output of a run matches the sample in the docs, except for host-specific values. */
export function printedAsSampled(name: SampleName, output: string): void {
  expect(formOf(output.trimEnd())).toBe(formOf(samples[name] ?? ""));
}

/** The same for a mail. */
export async function mailedAsSampled(name: SampleName, raw: Buffer): Promise<void> {
  printedAsSampled(name, await shownMail(name, raw));
}

/** Fails unless every word of a text is that of the sample in the docs: for hosts in the state that the sample shows. */
export function wordedAsSampled(name: SampleName, shown: string): void {
  expect(wordsOf(shown.trimEnd())).toBe(wordsOf(samples[name] ?? ""));
}
