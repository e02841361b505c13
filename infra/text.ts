/**
 * Text from a host as it may be shown to a person: whatever could move a terminal's cursor, change its colours or turn
 * the direction of what follows stands as �. Line ends and tabs stay.
 */
export function visible(text: string): string {
  return text.replaceAll(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "\ufffd");
}
