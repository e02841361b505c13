# Each module imports the functions it calls, and nothing else: perl -c does not see a function that is missing.
use strict;
use warnings;
use Test::More;

my ($folder) = map { s{System\.pm\z}{}r } grep { defined } do { require LsyncdAsCode::System; $INC{'LsyncdAsCode/System.pm'} };
my (%module_of, %code);
for my $file (glob "$folder*.pm") {
    my ($module) = $file =~ m{(\w+)\.pm\z};
    require "LsyncdAsCode/$module.pm";
    $code{$module} = do { local (@ARGV, $/) = $file; <> };
    no strict 'refs';
    $module_of{$_} = $module for @{"LsyncdAsCode::${module}::EXPORT_OK"};
}
cmp_ok(scalar keys %code, '>', 9, 'the modules are found');

for my $module (sort keys %code) {
    # Comments, quoted texts and words in qw() call nothing.
    my $calls = $code{$module} =~ s/(?:^|\s)#\s.*$//mgr =~ s/qw\([^)]*\)//gr =~ s/'[^'\n]*'//gr =~ s/"[^"\n]*"//gr;
    my %imported = map { $_ => 1 } grep { $module_of{$_} } map { split } $code{$module} =~ /^use LsyncdAsCode::[\w:]+ +qw\(([^)]*)\)/mg;
    my %called = map { $_ => 1 } grep { $calls =~ /(?<![\$\@%>{\w:])$_\b(?!\s*=>)/ && $module_of{$_} ne $module } keys %module_of;
    no strict 'refs';
    # Ignores functions and constants that the module itself defines.
    delete @called{ grep { !$imported{$_} && $calls =~ /^(?:sub \Q$_\E\b|\s*\Q$_\E\s+=>)/m } keys %called };
    is_deeply([ sort keys %called ], [ sort keys %imported ], "$module imports the functions it calls");
}
done_testing();
