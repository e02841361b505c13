# Holds root's rights for one run, for the user who logs in: runs the commands that were announced, as they were
# announced, and no others. It ends when its standard input does, which is when the run has ended or has died.
use strict;
use warnings;
use IO::Socket::UNIX;
use IO::Select;

my ($prefix, $user) = @ARGV;
# Of this run alone: another one, of another operator or a preview, has its own.
my $path = "$prefix.$$";
# In the input, not among the arguments: a digest of a text with a password in it is not for the list of processes.
my $line = '';
while (sysread STDIN, my $character, 1) { last if $character eq "\n"; $line .= $character }
my %announced = map { $_ => 1 } split / /, $line;
my $uid = getpwnam $user;
defined $uid or die "there is no user $user\n";

(my $folder = $path) =~ s{/[^/]*$}{};
mkdir $folder, 0755;
# Those whose lender was killed; one that has just begun does not listen yet.
for my $left (glob "$prefix.*") {
    unlink $left if time - ((stat $left)[9] // time) > 60 && !IO::Socket::UNIX->new(Peer => $left);
}
unlink $path;
my $mask = umask 0177;
my $server = IO::Socket::UNIX->new(Local => $path, Listen => 16) or die "cannot listen on $path: $!\n";
umask $mask;
chown $uid, -1, $path or die "cannot hand $path over: $!\n";
$SIG{CHLD} = 'IGNORE';
$SIG{$_} = sub { unlink $path; exit 0 } for qw(TERM INT HUP PIPE);
$| = 1;
print "ready\n";

my $waiting = IO::Select->new($server, \*STDIN);
while (1) {
    for my $handle ($waiting->can_read) {
        if ($handle == $server) {
            my $client = $server->accept or next;
            my $child = fork;
            serve($client) if defined $child && $child == 0;
            close $client;
        }
        elsif (!sysread STDIN, my $nothing, 4096) {
            unlink $path;
            exit 0;
        }
    }
}

# Reads a request to its end (a line of arguments, then the text to run), runs it and sends what comes of it.
sub serve {
    my ($client) = @_;
    $SIG{$_} = 'DEFAULT' for qw(CHLD TERM INT HUP PIPE);
    my $request = do { local $/; <$client> };
    exit 1 if ($request // '') eq '';
    my ($arguments, $text) = split /\n/, $request, 2;
    # Which run asks is not known when it is announced, and no matter: see becauseOf.
    (my $asked = $request) =~ s/\A([^\n]*) run [0-9TZ]+\n/$1\n/;
    if (!$announced{ digest($asked) }) {
        print $client "\0unannounced";
        exit 1;
    }
    my $child = fork;
    exit 1 if !defined $child;
    if ($child == 0) {
        open STDOUT, '>&', $client;
        open STDERR, '>&', $client;
        open my $bash, '|-', 'bash', '-c', 'eval "$(cat)"', split / /, $arguments or exit 127;
        print $bash $text;
        close $bash;
        exit($? >> 8 || ($? ? 128 : 0));
    }
    waitpid $child, 0;
    print $client "\0", $? >> 8 || ($? ? 128 : 0);
    exit 0;
}

# The SHA-256 of a text, by the program that every Debian has.
sub digest {
    my ($text) = @_;
    open my $file, '+>', undef or return '';
    print $file $text;
    $file->flush;
    my $child = open my $sum, '-|';
    if (defined $child && $child == 0) {
        seek $file, 0, 0;
        open STDIN, '<&', $file;
        exec 'sha256sum' or exit 1;
    }
    my ($digest) = (<$sum> // '') =~ /^([0-9a-f]{64})/;
    return $digest // '';
}
