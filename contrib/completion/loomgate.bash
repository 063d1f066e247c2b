# Completion for bash: loomgate (the program's options) and loomctl (the commands of the control socket).
# shellcheck shell=bash

# commands: the table of the program; `make doc-check` compares it
__loomctl_commands='
breaker hold BACKEND/SERVER open|closed
breaker release BACKEND/SERVER
breaker reset BACKEND[/SERVER]
breaker trip BACKEND/SERVER [for DURATION]
config check [PATH]
config plan [PATH]
confirm
drain BACKEND[/SERVER] [for DURATION] [wait [DURATION]]
explain METHOD URL [NAME: VALUE]... [from ADDRESS] [frontend FRONTEND]
health BACKEND/SERVER up|down|auto
help [COMMAND]
kill session ID
kill sessions frontend FRONTEND
kill sessions server BACKEND/SERVER
log level debug|info|warn|error
log reopen
maint BACKEND[/SERVER]
prompt
quit
ready BACKEND[/SERVER]
reload [PATH] [confirm within DURATION]
rollback
show audit
show backends
show breakers [BACKEND]
show config
show drift
show errors
show events [COUNT]
show frontends
show info
show memory
show servers [BACKEND]
show sessions [frontend FRONTEND] [server BACKEND/SERVER] [older DURATION]
show stats [NAME]
show version
show workers
shutdown [now]
stream events [count N]
stream requests [where EXPR] [sample N/s] [count N]
stream stats [every DURATION] [count N] [of NAME]...
upgrade
weight BACKEND/SERVER N|P%|config [for DURATION]
'
# end of commands

_loomgate() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    case $before in
    -f | --pid) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    -D) ;;
    *) mapfile -t COMPREPLY < <(compgen -W '-f -c --plan -D --pid -V --version -h --help --print-settings --print-commands' -- "$word") ;;
    esac
}

# The backends and servers that there are now, as BACKEND and BACKEND/SERVER.
__loomctl_names() {
    loomctl "$@" show servers 2>/dev/null | awk 'NR > 1 { print $1; print $1 "/" $2 }' | sort -u
}

# The words that may follow those typed so far: of commands, then what their arguments say.
__loomctl_next() {
    local typed=$1 command rest
    while read -r command; do
        [ -n "$command" ] || continue
        case $command in
        "$typed"*)
            rest=${command#"$typed"}
            echo "${rest%% *}"
            ;;
        esac
    done <<<"$__loomctl_commands" | sort -u
}

_loomctl() {
    local word=${COMP_WORDS[COMP_CWORD]} typed='' options=() choices=() next i
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [ "${COMP_WORDS[i]}" = -s ]; then
            options=(-s "${COMP_WORDS[++i]}")
            continue
        fi
        typed+="${COMP_WORDS[i]} "
    done
    if [ "${COMP_WORDS[COMP_CWORD - 1]}" = -s ]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
    fi
    while read -r next; do
        case $next in
        *BACKEND* | *SERVER*) mapfile -t -O "${#choices[@]}" choices < <(__loomctl_names "${options[@]}") ;;
        *[A-Z\[]*) ;; # something that only the user knows
        *'|'*) mapfile -t -O "${#choices[@]}" choices < <(tr '|' '\n' <<<"$next") ;;
        *) choices+=("$next") ;;
        esac
    done < <(__loomctl_next "$typed")
    mapfile -t COMPREPLY < <(compgen -W "${choices[*]} json" -- "$word")
}

complete -F _loomgate loomgate
complete -F _loomctl loomctl
