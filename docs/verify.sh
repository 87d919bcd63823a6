#!/usr/bin/env bash
# verify.sh DIR POLICY checks DIR/request.http and DIR/response.http by a flat policy, with bash,
# coreutils and openssl 3.0 alone. It prints the verdict, or leaves with 3 and the reason.
set -uf; export LC_ALL=C; unset IFS # docs/proof.md explains every step
die() { echo "not verified: $*" >&2; exit 3; } # never inside $( ), which is all it would leave
[ $# = 2 ] || { echo "usage: verify.sh DIR POLICY" >&2; exit 2; }
T=$(mktemp -d) || exit 1; trap 'c=$?; rm -rf "$T"; ((c == 0)) || exit 3' EXIT
declare -A F=() C=() K=() W=() G=() O=() seen=() signed=(); tab=$'\t' nl=$'\n' dash=$'\xe2\x80\x94 '
token="[A-Za-z0-9!#\$%&'*+.^_\`|~-]+" lower="[a-z0-9!#\$%&'*+.^_\`|~-]+" b="[A-Za-z0-9+/]"
b32="$b{42}[AEIMQUYcgkosw048]=" b16="$b{21}[AQgw]==" # no pad bits: one spelling
weak='^((e[c-f]|f.)f{60}[7f]f|0[01](00){30}[08]0|c7176a703d4dd84fba3c0b76|26e8958fc2b227b045c3f489)' # openssl takes them
hex() { od -An -v -tx1 -w9999; }; sha() { openssl dgst -sha256 -binary | base64 -w0; }
node() { { printf '\1'; base64 -d <<<"$1"; base64 -d <<<"$2"; } | sha; }
b64() { [[ $1 && $(base64 -d <<<"$1" 2>/dev/null | base64 -w0) == "$1" ]] || die "base64: $1"; }
num() { [[ $1 =~ ^(0|[1-9][0-9]{0,18})$ && (${#1} -lt 19 || $1 < 9223372036854775808) ]] || die "number: $1"; }
clean() { [[ $(tr -d "$1" | wc -c) -eq 0 ]] || die "control characters in the $2"; }
once() { [[ $1 != 'name none' && ! ${seen["$1"]-} ]] || die "twice: $1"; seen["$1"]=1; }
key() { # VKEY TYPE: sets id to the key's name and id, under which K holds type and key.
  [[ $1 =~ ^([!-*,-~]+)\+([0-9a-f]{8})\+($b{44})$ ]] || die "key: $1"
  local k=${BASH_REMATCH[3]} h; id="${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"; h=$(base64 -d <<<"$k" | hex); h=${h// }
  [[ $h == "$2"* && ! ${h:2} =~ $weak ]] || die "weak key, or of another type: $1"
  [[ $({ printf '%s\n' "${id% *}"; base64 -d <<<"$k"; } | sha256sum) == "${id##* }"* ]] || die "key id: $1"
  once "key ${h:2}"; once "id $id"; K["$id"]="$2 $k"; }
# The policy: logs of one origin, witnesses, flat groups of them, and the quorum.
origin='' quorum='' id='' line='' re='^[!-*,-.0-@[-~]+/quorate/[0-9a-f]{16}/(bft|hybrid)$'
clean '\t\n -~\200-\377' policy <"$2" || die "no policy $2"
while IFS= read -r line; do w=($line); case "${w[0]-}/${#w[@]}" in /0 | '#'*) ;;
  log/[23]) key "${w[1]}" 01; n=${id% *}; [[ $n =~ $re && ${origin:-$n} == "$n" ]] || die "origin: $n"; origin=$n ;;
  witness/[34]) key "${w[2]}" 04; once "name ${w[1]}"; W["${w[1]}"]=$id; once "cosigner ${id% *}" ;;
  group/*) m=("${w[@]:3}") k=${w[2]-}; case $k in any) k=1 ;; all) k=${#m[@]} ;; esac
    num "$k"; ((0 < k && k <= ${#m[@]})) || die "threshold: $line"; for n in "${m[@]}"; do
      [[ ${W["$n"]-} ]] || die "no witness before, or a group: quorate verify can nest: $n"; once "member $n"; done
    once "name ${w[1]}"; G["${w[1]}"]="$k ${m[*]}" ;;
  quorum/2) n=${w[1]}; [[ ! $quorum && ${G["$n"]-}${W["$n"]-} ]] || die "quorum: $n"; quorum=${G["$n"]-"1 $n"} ;;
  *) die "policy: $line" ;; esac; done <"$2"
[[ ! $line && $origin && $quorum ]] || die "policy without log, quorum or a newline at its end"
# The files: the start line, fields in F, how often each stands in C, the content in a file.
message() { local line n v off=0 ended=''; start=''
  while IFS= read -r line; do ((off += ${#line} + 1))
    [[ $line == *$'\r' && ${line%?} != *$'\r'* ]] || die "end of line: $line"; line=${line%?}
    [[ $line ]] || { ended=1; break; }; [[ $start ]] || { start=$line; continue; }
    [[ $line =~ ^($token):[\ $tab]*(.*)$ ]] || die "header line: $line"; n=$1:${BASH_REMATCH[1],,}
    v=${BASH_REMATCH[2]}; F[$n]=${F[$n]+${F[$n]}$nl}${v%"${v##*[! $tab]}"} C[$n]=$((${C[$n]-0} + 1))
  done <"$2" || die "no file $2"; clean '\t\r\n -~\200-\377' header < <(head -c "$off" "$2"); tail -c +$((off + 1)) "$2" >"$T/$1"
  [[ $ended && ! ${C[$1:transfer-encoding]-}${C[$1:content-encoding]-} ]] || die "no end, or a coding"; }
field() { ((${C[$1]-0} < 2)) || die "repeated: $1"; v=${F[$1]-}; ((${C[$1]-0})); }
sized() { field "$1:content-length" || v=0; num "$v"; (($(wc -c <"$T/$1") == v)) || die "Content-Length"; }
message q "$1/request.http"; re="^($token) (/[!\"\$-~]*) HTTP/1\\.1\$"; [[ $start =~ $re ]] || die "$start"
method=${BASH_REMATCH[1]} v=${BASH_REMATCH[2]}; path=${v%%\?*}; query=${v#"$path"}; query=${query:-?}
field q:host || die "no Host"; sized q; message a "$1/response.http"
[[ $start =~ ^HTTP/1\.1\ ([2-5][0-9][0-9])\  ]] || die "status: $start"; status=${BASH_REMATCH[1]}
if [[ $method != HEAD && $status != [23]04 ]]; then sized a; elif field a:content-length; [[ -s $T/a ]]; then die content; fi
# What is covered, and the exchange.
q=(content-type accept accept-language authorization cookie if-match if-none-match idempotency-key)
a=(content-type etag location cache-control set-cookie quorate-covers) rest='' late='' base='' ids=''
! field a:quorate-covers || rest="$v, "; while [[ $rest ]]; do n=${rest%%, *} rest=${rest#*, }
  [[ $n =~ ^($lower)(\;req)?$ && $n != quorate-* && $n != content-digest?(;req) ]] || die "quorate-covers: $n"
  if [[ $n != *\;req ]]; then [[ " ${a[*]} " != *" $n "* ]] || die "covers: $n"; a+=("$n") late=1
  else n=${n%;req}; [[ ! $late && " ${q[*]} " != *" $n "* ]] || die "covers: $n"; q+=("$n"); fi; done
[[ ! ${C[q:content-range]-} && (! ${C[a:content-range]-} || " ${a[*]} " == *" content-range "*) ]] || die "a part"
ascii() { [[ $1 != *[!$tab\ -~]* ]] || die "not ASCII: $1"; }
line() { ascii "$3"; base+="\"$1\"$2: $3$nl" ids+=" \"$1\"$2"; }
for n in "@method $method" "@authority ${origin%%/*}" "@path $path" "@query $query"; do line "${n%% *}" ';req' "${n#* }"; done
for n in "${q[@]}"; do ! field "q:$n" || line "$n" ';req' "$v"; done
d="sha-256=:$(sha <"$T/q"):"; ! field q:content-digest || [[ $v == "$d" ]] || die "the request's Content-Digest"
line content-digest ';req' "$d"; line @status '' "$status"; for n in "${a[@]}"; do c=''
  [[ $n == set-cookie ]] || { ! field "a:$n" || line "$n" '' "$v"; continue; }; [[ ${C[a:$n]-} ]] || continue
  while IFS= read -r v; do ascii "$v"; c+=", :$(printf %s "$v" | base64 -w0):"; done <<<"${F[a:$n]}"
  line "$n" ';bs' "${c#, }"; done
d="sha-256=:$(sha <"$T/a"):"; field a:content-digest && [[ $v == "$d" ]] || die "the response's Content-Digest"
line content-digest '' "$d"; base+="\"@signature-params\": (${ids# });tag=\"quorate-exchange/1\""
# The entry, from Quorate's own fields, and the proof.
own() { field "a:quorate-$1" && [[ $v =~ ^$2$ ]] || die "quorate-$1"; O[$1]=${BASH_REMATCH[1]}; $3 "${O[$1]}"; }
own index '(.*)' num; own epoch '(.*)' num; own time '(.*)' num; own state "sha-256=:($b32):" :; own salt ":($b16):" :
own proof ":($b+=*):" b64; base64 -d <<<"${O[proof]}" >"$T/proof"
x=$({ base64 -d <<<"${O[salt]}"; printf %s "$base"; } | sha) index=${O[index]}
root=$(printf '\0quorate-exchange/1\nindex %s\nepoch %s\ntime %s\nstate sha-256=:%s:\nexchange sha-256=:%s:\n' \
  "$index" "${O[epoch]}" "${O[time]}" "${O[state]}" "$x" | sha); clean '\n -~\200-\377' proof <"$T/proof"
mapfile -t P <"$T/proof"; cmp -s "$T/proof" <(printf '%s\n' "${P[@]}") && [[ ${P[1]-} == "index $index" &&
  ${P[0]} == c2sp.org/tlog-proof@v1 && ${#base} -lt 65536 && $(wc -c <"$T/proof") -le 65536 ]] || die "the proof's form"
for ((i = 2; i < ${#P[@]}; i++)); do [[ ${P[i]} ]] || break; [[ ${P[i]} =~ ^$b32$ ]] || die path; done
size=${P[i + 2]-}; num "$size"; ((i < 66 && index < size && ${#P[@]} > i + 5)) &&
  [[ ${P[i + 1]} == "$origin" && ${P[i + 3]} =~ ^$b32$ && ! ${P[i + 4]} ]] || die "the head's form, origin or size"
f=$index s=$((size - 1)); for h in "${P[@]:2:i-2}"; do ((s)) || die "the path is too long"; if ((f & 1 || f == s))
  then root=$(node "$h" "$root"); while ((!(f & 1))); do ((f >>= 1, s >>= 1)); done
  else root=$(node "$root" "$h"); fi; ((f >>= 1, s >>= 1)); done; [[ $s == 0 && $root == "${P[i + 3]}" ]] || die "not in the log"
# The signatures: every line of a known key must be right, each key counts once.
printf '%s\n' "${P[@]:i+1:3}" >"$T/head"; logged=''; ((${#P[@]} - i <= 261)) || die "too many signatures"
for line in "${P[@]:i+5}"; do [[ $line =~ ^$dash([!-*,-~]+)\ ($b+=*)$ ]] || die "signature line: $line"
  n=${BASH_REMATCH[1]} v=${BASH_REMATCH[2]}; b64 "$v"; h=$(base64 -d <<<"$v" | head -c 99 | hex); h=${h// }
  ((${#h} > 8)) || die "$line"; id="$n ${h:0:8}"; k=${K["$id"]-}; [[ $k ]] || continue; [[ ${k% *}:$h =~ ^(01:.{136}|04:.{8}[0-7].{143})$ ]] || die "form: $line"
  { [[ $k == 01* ]] && logged=1 || printf 'cosignature/v1\ntime %s\n' $((16#${h:8:16})); cat "$T/head"; } >"$T/msg"
  { printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00'; base64 -d <<<"${k#* }" | tail -c 32; } >"$T/key"
  base64 -d <<<"$v" | tail -c 64 >"$T/sig"; [[ ! ${h: -128:64} =~ $weak ]] && openssl pkeyutl -verify -pubin -rawin \
    -keyform DER -inkey "$T/key" -in "$T/msg" -sigfile "$T/sig" >/dev/null 2>&1 || die "wrong: $line"; signed[$id]=1; done
[[ $logged ]] || die "no log of the policy signed"; read -r k m <<<"$quorum"; got=0 all=0
for n in $m; do ((++all)); [[ ! ${signed["${W["$n"]}"]-} ]] || ((++got)); done; ((got >= k)) || die "$got of $all: no quorum"
fresh=', not fresh' dev=; re='^"([]!#-[^-~ ]|\\["\])*"$'; ! field q:idempotency-key || [[ ! $v =~ $re ]] || fresh=
[[ ${origin%%/*} != *.localhost?(:*([0-9])) ]] || dev=' (development keys)'
echo "verified$fresh: $got of $all replicas, entry $index$dev"
