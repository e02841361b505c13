import { besideSection } from "./beside/section";
import { deploySection } from "./deploy/section";
import { hostSections } from "./host/section";
import { hundredSection } from "./hundred/section";
import { manySection } from "./many/section";
import { profileSection } from "./profile/section";
import { readResults } from "./results";
import { sqliteSections } from "./sqlite/section";
import { verifySection } from "./verify/section";

/** The presentation of a mode's raw results: text for the page, and charts. */
export interface Rendered {
  /** Markdown. */
  text: string;
  /** SVG, by the name of the file in docs/performance/. */
  charts?: Record<string, string>;
}

/** A part of docs/performance.md that is made out of raw results. */
export interface Section {
  /** The mode whose raw results it is made of. */
  results: string;
  /** Pure: the results as docs/performance/NAME.json holds them. */
  render: (results: unknown) => Rendered;
}

/**
 * The generated sections, by the name in their marker on the page: `<!-- measured: NAME -->`, and `<!-- end -->` after it. Everything
 * outside of the markers is written by hand.
 */
export const sections: Record<string, Section> = {
  deploy: deploySection,
  hundred: hundredSection,
  profile: profileSection,
  ...hostSections,
  ...sqliteSections,
  many: manySection,
  beside: besideSection,
  verify: verifySection,
};

const marker = /(<!-- measured: (\S+) -->\n)([\s\S]*?)(<!-- end -->)/g;

/**
 * The page with its generated parts rewritten, and the charts. A section without results says so. Throws if the page
 * names an unknown section, or lacks a known one.
 */
export async function renderPage(
  page: string,
  known: Record<string, Section> = sections,
  read: (name: string) => Promise<unknown> = readResults,
): Promise<{ page: string; charts: Record<string, string> }> {
  const named = [...page.matchAll(marker)].map(([, , name = ""]) => name);
  const lacking = Object.keys(known).filter((name) => !named.includes(name));
  if (lacking.length > 0) throw new Error(`docs/performance.md has no place for: ${lacking.join(", ")}`);
  const rendered = new Map<string, Rendered>();
  for (const name of named) {
    const section = known[name];
    if (!section) throw new Error(`docs/performance.md names a section that there is not: ${name}`);
    const results = await read(section.results);
    const missing = `Not measured yet: \`npm run bench -- ${section.results}\`.`;
    rendered.set(name, results === undefined ? { text: missing } : section.render(results));
  }
  return {
    page: page.replaceAll(
      marker,
      (_all, start: string, name: string, _old, end: string) =>
        `${start}\n${rendered.get(name)?.text.trim() ?? ""}\n\n${end}`,
    ),
    charts: Object.assign({}, ...[...rendered.values()].map(({ charts }) => charts ?? {})) as Record<string, string>,
  };
}
