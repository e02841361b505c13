declare module "write-good" {
  /** Finds habits of English prose; `index` counts characters of the text. */
  export default function writeGood(
    text: string,
    options?: Record<string, boolean>,
  ): { index: number; offset: number; reason: string }[];
}
