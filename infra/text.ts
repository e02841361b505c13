/**
 * Text from a host, safe to print: replaces characters that could move a terminal's cursor, change its colours or reverse the
 * text direction with �. Keeps line ends and tabs.
 */
export function visible(text: string): string {
  return text.replaceAll(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "\ufffd");
}
