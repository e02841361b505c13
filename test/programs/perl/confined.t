# From which version of rsync on LsyncdAsCode::Confined takes paths away: older ones use them for everything.
use strict;
use warnings;
use File::Temp ();
use LsyncdAsCode::Confined ();
use Test::More;

my $folder = File::Temp->newdir;
my $case   = 0;

sub program {
    my ($text) = @_;
    my $path = "$folder/" . ++$case;
    open my $file, '>', $path or die "$path: $!\n";
    print {$file} "#!/bin/sh\n$text\n";
    close $file;
    chmod 0755, $path;
    return $path;
}

for (['3.2.7', 0], ['3.4.1', 0], ['3.4.4', 0], ['3.5.0', 1], ['3.5.1pre1', 1], ['3.10.0', 1], ['4.0.0', 1]) {
    my ($version, $has) = @$_;
    my $says = program("echo 'rsync  version $version  protocol version 31'; echo 'Copyright (C)'");
    is(LsyncdAsCode::Confined::has_handles($says) ? 1 : 0, $has, "rsync $version");
}
ok(!LsyncdAsCode::Confined::has_handles(program('echo openrsync: protocol version 29')), 'another program');
ok(!LsyncdAsCode::Confined::has_handles(program('exit 1')), 'one that fails');
done_testing;
