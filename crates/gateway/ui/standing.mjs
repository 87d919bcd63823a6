// What a replica's status says of replicas and of their copies of the service, in words.

/** Whether it signed something wrong. A copy of the service that stands apart proves no lie. */
export const isLiar = ({ evidence }) => !evidence?.copy;

/** What is held against a replica, behind its name. */
export function chargeOf(evidence) {
  if (evidence?.copy === "silent") return "has a copy of the service that gave no answer";
  if (evidence?.copy) return "has a copy of the service that answered otherwise";
  return `diverged: ${evidence?.charge ?? "see the evidence"}`;
}

/**
 * How a replica's copy does, { text, kind }: that of the replica asked as it knows itself, others by
 * what they reported last. Undefined where the service runs inside the replicas.
 */
export function copyOf(id, { replica, copy, divergent }) {
  if (!copy) return undefined;
  const own = id === replica ? copy.standing : undefined;
  const charges = divergent.filter((one) => one.id === id && !isLiar(one));
  const reports = charges.map(({ evidence }) => {
    const deed = evidence.copy === "silent" ? "gave no answer" : "answered otherwise";
    return `${deed} in slot ${evidence.slot}`;
  });
  const text = [...(own ? [own.replace("-", " ")] : []), ...reports].join(", ");
  if (own === "restoring") return { text, kind: "warn" };
  const isFine = reports.length === 0 && (own ?? "in-step") === "in-step";
  return { text: text || "agrees", kind: isFine ? "good" : "bad" };
}
