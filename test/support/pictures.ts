import { readFileSync } from "node:fs";
import { join } from "node:path";
import { screens } from "../../tools/docs/screens";
import { linesOfSvg } from "../../tools/docs/svg";

/** The text of a picture in docs/screens. */
export const pictureOf = (name: keyof typeof screens): string =>
  readFileSync(join(__dirname, "../..", screens[name]), "utf8");

/** The lines of a picture, without numbers and widths, which differ from run to run; "-" stands for a number not known yet. */
export const formOfPicture = (svg: string): string[] =>
  linesOfSvg(svg).map((line) =>
    line
      .replaceAll(/\d[\d.]*( ?[smhdKMGB]+\b)?/g, "0")
      .replace(/about 0 to 0/, "about 0")
      .replaceAll(/ +/g, " ")
      .replaceAll(/(?<= )-(?= |$)/g, "0")
      .trimEnd(),
  );
