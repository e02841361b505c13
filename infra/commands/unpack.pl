# Turns a deployment, one JSON object of texts, into the script that it stands for, and gives that to the command named
# in its arguments. A part that is called like a path becomes an entry of the array `content`, each other part stands as
# it is. A text that arrives cut short does nothing. See bundle.ts; these lines are part of a command's text.
local $/;
$_ = <STDIN>;
/^\{.*"\}\s*$/s or die "The deployment did not arrive whole. Nothing was done.\n";
open my $to, "|-", @ARGV or die "@ARGV: $!\n";
$SIG{HUP} = $SIG{PIPE} = "IGNORE";
while (/"([^"]*)":"([^"]*)"/g) {
    my ($name, $text) = ($1, $2);
    $text =~ s/\\(?:n|u00(..))/defined $1 ? chr hex $1 : "\n"/ge;
    $text =~ s/\x27/\x27\\\x27\x27/g, $text = "content[$name]=\x27$text\x27\n" if $name =~ m{^/};
    print $to $text;
}
close $to;
exit($? >> 8 || ($? ? 1 : 0));
