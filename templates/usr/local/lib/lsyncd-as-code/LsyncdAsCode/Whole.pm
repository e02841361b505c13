# Each program loads this before our other modules, so that it has one version of all of them: a deployment exchanges the folder of all
# programs at once, also while one of them is starting. This holds the folder open and loads the modules from there, whatever its name
# is by then. If the program itself comes from another folder, it starts again. whole.sh does the same for Bash.
package LsyncdAsCode::Whole;
use strict;
use warnings;

my ($folder) = __FILE__ =~ m{\A(.*)/LsyncdAsCode/Whole\.pm\z}s;
opendir our $handle, $folder or die "cannot open $folder: $!\n";
my $held = '/proc/self/fd/' . fileno $handle;
my $started = $$;

# The modules keep the names that they have in messages.
unshift @INC, sub {
    my (undef, $name) = @_;
    return if $name !~ m{\ALsyncdAsCode/};
    open my $file, '<', "$held/$name" or return;
    $INC{$name} = "$folder/$name";
    return (\qq{#line 1 "$folder/$name"\n}, $file);
};

# Perl has the program open while it loads modules.
my $program = identity($held . '/' . $0 =~ s{.*/}{}sr);
start_again() if $program ne '' && !grep { identity("/proc/self/fd/$_") eq $program } open_files();

sub open_files { opendir my $files, '/proc/self/fd' or return; return readdir $files }

# Which file is at a path: empty if there is none.
sub identity { my ($path) = @_; return join ':', (stat $path)[0, 1] }

# Starts the program again, with the same arguments, unless it has been tried before.
sub start_again {
    return if delete $ENV{LSYNCD_STARTED_AGAIN} || $$ != $started;
    open my $words, '<', '/proc/self/cmdline' or return;
    my @words = split /\0/, do { local $/ = undef; readline $words }, -1;
    pop @words;
    $ENV{LSYNCD_STARTED_AGAIN} = 1;
    exec { $words[0] } @words;
}

# For the first settings, which may be of the version after: the program has done nothing yet, and starts again.
my $settled;
sub settle {
    return if $settled++ || !exchanged();
    start_again();
    # A process that another one has made ready cannot: lsyncd tries again.
    exit 12 if $$ != $started;
    return;
}

# Whether a deployment has exchanged the folder of the programs since this one began.
sub exchanged { my ($began, $now) = map { identity($_) } $held, $folder; return $began ne '' && $now ne '' && $began ne $now }

1;
