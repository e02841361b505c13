/** Text as it stands in XML and HTML between tags, and in attributes when it holds no quotes. */
export function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
