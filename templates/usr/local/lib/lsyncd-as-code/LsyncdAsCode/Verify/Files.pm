# Everything but databases: rsync compares, and what it finds is looked at once more.
package LsyncdAsCode::Verify::Files;
use strict;
use warnings;
use POSIX ();
use LsyncdAsCode::Confined qw(exec_rsync);
use LsyncdAsCode::Itemize  ();
use LsyncdAsCode::Private qw(excludes);
use LsyncdAsCode::State  qw(setting);
use LsyncdAsCode::System qw(pause);

# Types, sizes, times to the nanosecond, links, devices and owners. (Modes are mirrored only with the matching option of lsyncd.)
my @COMPARE = qw(-rltgoD --omit-dir-times --modify-window=-1);

# Compares everything. Returns { files, databases, differing, complaints }: a number, paths, items of LsyncdAsCode::Itemize that are
# no part of a database, and what rsync could not look at.
sub compare {
    my ($volumes, $option, $is_database, $part_of_one) = @_;
    my %result = (files => 0, databases => [], differing => []);
    # --ignore-errors: nothing is deleted here, and what rsync could not read is looked for in the source before it counts as gone.
    my @arguments = ('--delete', '--ignore-errors', $option->{checksum} ? '--checksum' : (), '--exclude=/lost+found',
        excludes());
    my ($code, @said) = ask($volumes, [ LsyncdAsCode::Itemize::options(1), @arguments, @{ $option->{rsync_options} } ], '', sub {
        my ($item) = @_;
        my ($path, $gone) = ($item->{name}, $item->{action} eq 'delete');
        $result{files}++ if !$gone && $item->{type} ne 'd';
        if ($item->{type} ne 'd' && $part_of_one->($path)) {
            # A database that is in the mirror only is found as such below; what is beside one comes and goes with it.
            if    (!$is_database->($path)) { return }
            elsif (!$gone)                 { push @{ $result{databases} }, $path; return }
        }
        push @{ $result{differing} }, $item if counts($item);
    });
    die "rsync could not compare the volumes (exit code $code): @said\n" unless $code == 0 || $code == 23 || $code == 24;
    $result{complaints} = $code == 23 ? [ @said ? @said : 'rsync could not look at everything' ] : [];
    return \%result;
}

# Whether a difference counts. The time of an entry without content of its own (link, device, special file) does not, and neither do its ACL,
# of which the mode shows a part, and its attributes: rsync may not set them (LsyncdAsCode::Confined).
sub counts {
    my ($item) = @_;
    return 0 if !$item->{changed};
    return 1 if $item->{type} !~ /[LDS]/ || $item->{action} ne 'none';
    my %differs = %{ $item->{differs} };
    delete @differs{qw(time xattr)};
    delete $differs{perms} if delete $differs{acl};
    return %differs ? 1 : 0;
}

# Runs rsync without letting it change anything, and hands each item over. Returns its exit code and what it complained about.
sub ask {
    my ($volumes, $arguments, $input, $each) = @_;
    open my $complaints, '+>', undef or die "cannot open a temporary file: $!\n";
    open my $list,       '+>', undef or die "cannot open a temporary file: $!\n";
    print {$list} $input;
    $list->flush;
    seek $list, 0, 0;
    my $rsync = setting('rsync_program');
    my @roots = map { $volumes->root($_) . '/' } qw(source target);
    my $pid = open(my $output, '-|') // die "cannot fork: $!\n";
    if (!$pid) {
        open STDIN,  '<&', $list       or POSIX::_exit(127);
        open STDERR, '>&', $complaints or POSIX::_exit(127);
        $ENV{LC_ALL} = 'C';
        exec_rsync($rsync, '--dry-run', @COMPARE, @$arguments, @roots);
        POSIX::_exit(127);
    }
    while (my $line = <$output>) {
        chomp $line;
        my $item = LsyncdAsCode::Itemize::parse($line) or next;
        $each->($item) if $item->{name} ne '.';
    }
    close $output;
    my $code = $? & 127 ? 20 : $? >> 8;
    seek $complaints, 0, 0;
    my @said = map { chomp; s{/proc/$$/fd/[0-9]+/}{}g; length > 300 ? substr($_, 0, 300) . '...' : $_ } grep { !/\Arsync error: |\Aerror has occurred|IO error encountered/ } <$complaints>;
    splice @said, 20, @said - 20, sprintf '%d more that rsync could not look at', @said - 20 if @said > 21;
    return ($code, @said);
}

# Looks at these paths again. Returns the items that still differ, by path: { path => item }.
sub again {
    my ($volumes, $option, @paths) = @_;
    my (%asked, %still);
    @asked{@paths} = ();
    my @single = ('--no-recursive', '--dirs', '--from0', '--files-from=-', '--ignore-missing-args', $option->{checksum} ? '--checksum' : ());
    # rsync itemizes the directories above a path as well.
    my ($code) = ask($volumes, [ LsyncdAsCode::Itemize::options(0), @single ], join('', map { "$_\0" } @paths), sub {
        my ($item) = @_;
        $still{ $item->{name} } = $item if exists $asked{ $item->{name} } && counts($item);
    });
    die "rsync could not compare some files again (exit code $code)\n" unless $code == 0 || $code == 23 || $code == 24;
    for my $path (@paths) {
        next if $still{$path};
        my ($here, $there) = map { scalar(my @found = $volumes->look($_, $path)) } qw(source target);
        $still{$path} = { action => 'delete', name => $path } if !$here && $there;
    }
    return \%still;
}

# Of the differences those that stay and are not the mirror's delay, as faults (LsyncdAsCode::Verify).
sub faults {
    my ($volumes, $option, $differing) = @_;
    return if !@$differing;
    pause(3);
    my $still = again($volumes, $option, map { $_->{name} } @$differing);
    my @faults;
    for my $item (map { $still->{ $_->{name} } // () } @$differing) {
        my ($path, $what) = ($item->{name});
        if ($item->{action} eq 'delete') { $what = 'is in the mirror only' }
        else {
            my $age = $volumes->age($path) // next;
            next if $age <= $option->{max_age};
            $what = $item->{new} ? 'is missing in the mirror' : sprintf 'differs%s; the source was last changed %.0f s ago', in_what($item), $age;
        }
        push @faults, { path => $path, what => $what, of => 'file', same => only_content($item) };
    }
    return @faults;
}

sub in_what {
    my ($item) = @_;
    my %words = $item->{type} eq 'L' ? (checksum => 'where it leads') : $item->{type} eq 'f' ? (checksum => 'content') : (checksum => 'what it is');
    my @in = map { $words{$_} // $_ } grep { $item->{type} eq 'f' || $_ ne 'time' } sort keys %{ $item->{differs} };
    return @in ? ' in ' . join ', ', @in : '';
}

# Whether a file looks the same by size and time: lsyncd's next pass would not touch it.
sub only_content { my ($item) = @_; return ($item->{differs}{checksum} && !$item->{differs}{size} && !$item->{differs}{time}) ? 1 : 0 }

1;
