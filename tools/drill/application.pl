#!/usr/bin/perl
# Stands for the application of a host: keeps databases open, commits to them all the time, and writes mails.
# Runs in SQLITE_STORAGE_PATH until a signal stops it or a write fails. It records each confirmed commit in its log, outside of
# both volumes: "time path number", the time in seconds since 1970.
#
# Each transaction appends a mail, a link of a chain of checksums over all mails, and changes eight rows here and there, so that
# a database shows whether it is in a committed state. The checks are in application.ts.
use strict;
use warnings;
use IO::Handle ();
use IPC::Open2 qw(open2);

my ($log_path, $pause) = (shift, shift // 0.03);
my $storage = $ENV{SQLITE_STORAGE_PATH} or die "SQLITE_STORAGE_PATH is not set\n";

# The databases that it keeps open: the name and the journal mode, and rows to begin with (512 bytes each, a multiple of 8).
my @databases = (
    [ 'accounts.sqlite',         'wal',    0 ],
    [ 'mail/customer-1.sqlite',  'wal',    0 ],
    [ 'mail/customer-2.sqlite',  'wal',    40_000 ],
    [ 'mail/customer-3.sqlite',  'delete', 0 ],
    [ 'mail/customer-4.sqlite',  'delete', 32_000 ],
    [ 'queue/outgoing.db',       'truncate', 0 ],
);

for my $folder ('', '/mail', '/queue', '/incoming') { -d "$storage$folder" or mkdir "$storage$folder" or die "$storage$folder: $!\n" }
open my $log, '>>', $log_path or die "$log_path: $!\n";
$log->autoflush(1);

my $ending = 0;
$SIG{TERM} = $SIG{INT} = sub { $ending = 1 };
$SIG{PIPE} = 'IGNORE';

# Sends statements to a shell and waits for its answer to the last of them.
sub ask {
    my ($shell, $statements) = @_;
    print { $shell->{in} } "$statements\nSELECT 'done';\n" or die "$shell->{name}: $!\n";
    my @answer;
    while (defined(my $line = readline $shell->{out})) {
        chomp $line;
        return @answer if $line eq 'done';
        push @answer, $line;
    }
    die "$shell->{name}: SQLite gave up\n";
}

sub connection {
    my ($name, $mode, $rows) = @_;
    my $shell = { name => $name };
    $shell->{pid} = open2($shell->{out}, $shell->{in}, 'sqlite3', '-batch', '-bail', '-init', '/dev/null', "$storage/$name");
    $shell->{in}->autoflush(1);
    ask($shell, ".timeout 10000\nPRAGMA journal_mode = $mode;\nPRAGMA wal_autocheckpoint = 100;\nPRAGMA synchronous = normal;");
    ask($shell, <<"SQL");
CREATE TABLE IF NOT EXISTS mail (n INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chain (n INTEGER PRIMARY KEY, time REAL NOT NULL, sum TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS box (id INTEGER PRIMARY KEY, changes INTEGER NOT NULL, filling BLOB NOT NULL);
INSERT INTO box WITH RECURSIVE i(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM i WHERE id < max($rows, 48) - 1)
  SELECT id, 0, randomblob(512) FROM i WHERE NOT EXISTS (SELECT 1 FROM box);
SQL
    return $shell;
}

sub transaction {
    my ($shell) = @_;
    my ($answer) = ask($shell, <<'SQL');
BEGIN IMMEDIATE;
INSERT INTO mail SELECT coalesce(max(n), 0) + 1, hex(randomblob(400)) FROM chain;
INSERT INTO chain SELECT n, (julianday('now') - 2440587.5) * 86400,
  hex(sha3(coalesce((SELECT sum FROM chain WHERE chain.n = mail.n - 1), '') || n || body, 256))
  FROM mail ORDER BY n DESC LIMIT 1;
UPDATE box SET changes = changes + 1, filling = randomblob(512) WHERE id IN (
  SELECT first + step.value * size FROM (SELECT abs(random()) % (count(*) / 8) AS first, count(*) / 8 AS size FROM box),
  json_each('[0,1,2,3,4,5,6,7]') AS step);
COMMIT;
SELECT printf('%.3f', time), n FROM chain ORDER BY n DESC LIMIT 1;
SQL
    my ($time, $n) = split /\|/, $answer // '';
    print {$log} "$time $shell->{name} $n\n";
    return;
}

# A mail as an MTA delivers it: written beside, on the disk, renamed into place. Old ones are deleted, those of earlier runs too, so
# that there are 40 at most: a mirror that shrinks much within minutes would be held.
my @mails = sort { ($a =~ /(\d+)\.eml/)[0] <=> ($b =~ /(\d+)\.eml/)[0] } glob "$storage/incoming/*.eml";
my ($delivered) = @mails ? $mails[-1] =~ /(\d+)\.eml/ : 0;
sub deliver {
    my $path = "$storage/incoming/" . ++$delivered . '.eml';
    open my $mail, '>', "$path.new" or die "$path: $!\n";
    print {$mail} "Subject: mail $delivered\n\n", join('', map { chr 33 + rand 90 } 1 .. 2000), "\n.\n";
    $mail->flush && $mail->sync && close $mail or die "$path: $!\n";
    rename "$path.new", $path or die "$path: $!\n";
    push @mails, $path;
    unlink shift @mails if @mails > 40;
    return;
}

my @open = map { connection(@$_) } @databases;
print {$log} "# started on $storage\n";
for (my $turn = 0; !$ending; $turn++) {
    transaction($open[ $turn % @open ]);
    deliver() if $turn % 5 == 0;
    select undef, undef, undef, $pause;
}
# As an application that is stopped in order: the last connection to a database cleans up its log.
for (@open) { close $_->{in}; waitpid $_->{pid}, 0 }
