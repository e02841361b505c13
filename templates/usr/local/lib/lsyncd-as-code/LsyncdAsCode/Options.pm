# The options of rsync with which no filter chooses files.
package LsyncdAsCode::Options;
use strict;
use warnings;
use Exporter qw(import);

our @EXPORT_OK = qw(chooses_nothing);

# Options of lsyncd 2.2.3 and of rsync-wrapper with which only the list selects files; test/programs/lsyncd-calls.test.ts contains
# recorded calls. Which of the mirror's own options are like that is a setting (plain_option); with others, filters could too.
my $PLAIN = qr/\A(?:-[aDgloprtWqszXA]+|--(?:archive|delete|force|from0|ignore-errors|quiet|compress
    |(?:no-)?whole-file|(?:no-)?(?:owner|group|perms|[ogp])|modify-window=-?\d+|include-from=-|exclude=\*))\z/x;

# Returns true if all these options are known to choose no files by themselves. $more: the setting plain_option.
sub chooses_nothing {
    my ($more, @options) = @_;
    my %plain = map { $_ => 1 } @$more;
    return !grep { !$plain{$_} && $_ !~ $PLAIN } @options;
}

1;
