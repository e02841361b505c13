# Converts untrusted bytes (log lines, file names) to text that hides nothing and is safe for terminals. Uses only
# perl-base: a minimal host has neither Encode nor JSON::PP.
package LsyncdAsCode::Readable;
use strict;
use warnings;
use Exporter qw(import);

our @EXPORT_OK = qw(readable json printable);

# The longest line, in bytes.
use constant LONGEST_LINE => 1000;

my $printable = qr{
    [\t\x20-\x7e]
  | \xc2[\xa0-\xbf] | [\xc3-\xdf][\x80-\xbf]
  | \xe0[\xa0-\xbf][\x80-\xbf] | [\xe1-\xec\xee\xef][\x80-\xbf]{2} | \xed[\x80-\x9f][\x80-\xbf]
  | \xf0[\x90-\xbf][\x80-\xbf]{2} | [\xf1-\xf3][\x80-\xbf]{3} | \xf4[\x80-\x8f][\x80-\xbf]{2}
}x;

# Returns a regular expression for one printable character of UTF-8.
sub printable { return $printable }

# Returns a line with bytes that are not printable UTF-8 as \xNN, cut if it is long.
sub readable {
    my ($line) = @_;
    my $more = length($line) - LONGEST_LINE;
    $line = substr($line, 0, LONGEST_LINE) if $more > 0;
    $line =~ s/($printable)|(.)/defined $1 ? $1 : sprintf('\\x%02X', ord $2)/gse;
    $line .= " [... $more bytes more]" if $more > 0;
    return $line;
}

# Returns a JSON string (RFC 8259) of text whose lines went through `readable`.
sub json {
    my ($text) = @_;
    $text =~ s/(["\\])/\\$1/g;
    $text =~ s/\n/\\n/g;
    $text =~ s/([\x00-\x1f\x7f])/sprintf('\\u%04x', ord $1)/ge;
    return qq("$text");
}

1;
